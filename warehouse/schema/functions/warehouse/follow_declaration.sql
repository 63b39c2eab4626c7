-- Changes a model's table to what the model declares. Runs twice in the model's transaction: before
-- and after its rows are written (is_written). The old rows may violate the new declaration, so the
-- first run only adds columns and loosens constraints.
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
        where is_written or d.is_loosening
    loop
        execute difference.statement;
    end loop;
end
$$;
