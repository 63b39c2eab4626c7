-- The query that computes a model's rows of one client: what it reads of a cluster's tables, and the cells,
-- are narrowed to the client by its name in the text, so that one worker can run the whole query.
create or replace function warehouse.rows_of_client(stored warehouse.stored_models, client text)
returns text
language plpgsql stable as $$
declare
    narrowed text := stored.rows_of_cells;
    relation text;
begin
    for relation in
        select m.relation from warehouse.stored_models as m
        where m.model = any(stored.upstream) and warehouse.is_distributed(m.relation::regclass)
        union all
        select format('pg_temp.touched_%s', stored.model)
    loop
        narrowed := replace(
            narrowed, relation, format('(select * from %s where client_id = %L)', relation, client)
        );
    end loop;
    return narrowed;
end
$$;

revoke all on function warehouse.rows_of_client(warehouse.stored_models, text) from public;
