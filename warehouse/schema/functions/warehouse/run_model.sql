-- Builds one model in one transaction, by the statements that dbt has stored: begin_model decides what
-- to read, the statements replace rows, end_model moves the offset.
-- is_new: its table was created in this transaction, so all rows are missing.
create or replace function warehouse.run_model(invocation text, model_name text, is_new boolean) returns void
language plpgsql as $$
declare
    stored warehouse.stored_models;
    run_mode text;
    is_empty boolean := false;
    one_statement text;
begin
    select * into strict stored from warehouse.stored_models as m where m.model = model_name;
    run_mode := warehouse.begin_model(stored, invocation, is_new);
    if run_mode = 'full' then
        execute format('select not exists (select 1 from %s)', stored.relation) into is_empty;
    end if;
    foreach one_statement in array
        stored.list_cells || case
            when is_empty then stored.fill_rows
            when run_mode = 'full' then stored.rewrite_rows
            else stored.replace_rows
        end
    loop
        execute one_statement;
    end loop;
    perform warehouse.end_model(stored, invocation);
end
$$;
