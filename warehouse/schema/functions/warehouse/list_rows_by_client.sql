-- Computes the rows of a model's listed cells, one client at a time, into the temporary table
-- new_<model>.
create or replace function warehouse.list_rows_by_client(model_name text) returns void
language plpgsql as $$
declare
    stored warehouse.stored_models;
begin
    select * into strict stored from warehouse.stored_models as m where m.model = model_name;
    -- No client has this name: the table is empty.
    execute format(
        'create temporary table new_%s on commit drop as %s', model_name, warehouse.rows_of_client(stored, '')
    );
    perform warehouse.insert_rows_of_cells(
        stored,
        format('pg_temp.new_%s', model_name),
        (
            select string_agg(quote_ident(a.attname), ', ' order by a.attnum)
            from pg_attribute as a
            where a.attrelid = to_regclass(format('pg_temp.new_%s', model_name)) and a.attnum > 0
        )
    );
end
$$;

revoke all on function warehouse.list_rows_by_client(text) from public;
