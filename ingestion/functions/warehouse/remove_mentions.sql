-- Takes the subject out of what is kept beside events and entities; returns how many rows went, by
-- table. Rows that tell of something else as well stay.
create or replace function warehouse.remove_mentions(sought text, of_client text) returns jsonb
language plpgsql as $$
declare
    n bigint;
begin
    execute
        'delete from warehouse.tenants where '
        || warehouse.condition_of_holding('warehouse.tenants', of_client is not null)
    using sought, of_client;
    get diagnostics n = row_count;
    if of_client is null then
        update warehouse.exports
        set
            accepted_by = case when accepted_by = sought then '(erased)' else accepted_by end,
            reason = case when reason = sought then '(erased)' else reason end
        where accepted_by = sought or reason = sought;
        update warehouse.run_events set detail = '(erased)' where detail = sought;
        -- A file that was set aside.
        delete from warehouse.run_events where job = sought;
    end if;
    return case when n > 0 then jsonb_build_object('warehouse.tenants', n) else '{}' end;
end
$$;
