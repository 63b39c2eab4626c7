-- Removes the subject from bookkeeping tables; returns the number of deleted rows by table. Rows that
-- also report something else stay with the text redacted.
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
        -- Events of quarantined files have the file's path in `job`.
        delete from warehouse.run_events
        where warehouse.file_presence(warehouse.normalized_identifier(sought), job) > 0;
    end if;
    return case when n > 0 then jsonb_build_object('warehouse.tenants', n) else '{}' end;
end
$$;
