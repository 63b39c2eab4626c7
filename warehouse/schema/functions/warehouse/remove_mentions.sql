-- Takes the subject out of what is kept beside events and entities; returns how many rows went, by
-- table. Rows that report something else as well stay.
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
        perform warehouse.redact('warehouse.exports', array['accepted_by', 'reason'], sought);
        perform warehouse.redact('warehouse.run_events', array['detail'], sought);
        -- A file that was quarantined.
        delete from warehouse.run_events
        where warehouse.file_presence(warehouse.normal(sought), job) > 0;
    end if;
    return case when n > 0 then jsonb_build_object('warehouse.tenants', n) else '{}' end;
end
$$;
