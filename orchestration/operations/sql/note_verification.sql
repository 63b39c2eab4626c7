insert into warehouse.verifications (model, verified_cells, differing_rows, differing_columns)
values (%(model)s, %(cells)s, %(rows)s, %(columns)s)
on conflict (model) do update set
    verified_at = excluded.verified_at,
    verified_cells = excluded.verified_cells,
    differing_rows = excluded.differing_rows,
    differing_columns = excluded.differing_columns;
