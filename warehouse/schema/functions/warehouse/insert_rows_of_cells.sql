-- Computes the rows of a model's listed cells and inserts these columns of them into a table.
create or replace function warehouse.insert_rows_of_cells(
    stored warehouse.stored_models, into_table text, columns text
) returns void
language plpgsql as $$
declare
    one_query text := stored.rows_of_cells;
    client text;
    clients text[] := array[null];
begin
    if stored.by_client then
        execute format('select array(select distinct client_id from pg_temp.touched_%s)', stored.model)
        into clients;
    end if;
    foreach client in array clients loop
        if stored.by_client then
            one_query := warehouse.rows_of_client(stored, client);
        end if;
        execute format(
            'insert into %1$s (%2$s) select %2$s from (%3$s) as rows_of_cells', into_table, columns, one_query
        );
    end loop;
end
$$;

revoke all on function warehouse.insert_rows_of_cells(warehouse.stored_models, text, text) from public;
