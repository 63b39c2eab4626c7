-- Makes a model's table what the model declares, within the model's transaction: before its rows are
-- written, and when they are. Of a full rebuild the rows that were there before may be against what
-- is declared now, so that all but the loosening waits for the new ones.
create or replace function warehouse.follow_declaration(
    relation regclass, declared jsonb, is_written boolean
) returns void
language plpgsql as $$
declare
    difference record;
begin
    for difference in
        select d.statement
        from warehouse.declared_differences(relation, declared) as d
        where is_written or d.is_loosening or current_setting('warehouse.mode') <> 'full'
    loop
        execute difference.statement;
    end loop;
end
$$;
