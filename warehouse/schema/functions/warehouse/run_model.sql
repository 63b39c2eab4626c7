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
    n bigint;
    inserted bigint := 0;
    deleted bigint := 0;
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
        -- The commands' own counts: on a cluster the statistics of a table count no row of the workers.
        get diagnostics n = row_count;
        one_statement := ltrim(one_statement, e' \n');
        if starts_with(one_statement, 'delete from ' || stored.relation) then
            deleted := deleted + n;
        elsif starts_with(one_statement, 'insert into ' || stored.relation) then
            inserted := inserted + n;
        elsif starts_with(one_statement, 'with written as (') then
            -- It inserted the model's rows, and then their numbers by period.
            select coalesce(sum(p.rows_written), 0) into n
            from warehouse.touched_periods as p
            where p.invocation_id = invocation and p.model = model_name;
            inserted := inserted + n;
        end if;
    end loop;
    perform warehouse.end_model(stored, invocation, inserted, deleted);
end
$$;
