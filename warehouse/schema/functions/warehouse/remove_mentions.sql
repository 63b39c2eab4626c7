-- Removes the subject from bookkeeping tables; returns the number of deleted rows by table. Rows that
-- also report something else stay with the text redacted.
create or replace function warehouse.remove_mentions(sought text, of_client text) returns jsonb
language plpgsql as $$
declare
    n bigint;
    keys bigint;
begin
    if of_client is null then
        perform warehouse.redact('warehouse.keys', array['name'], sought);
    end if;
    -- Those of an erased client, or of its roles: nobody can send or read as them any more.
    execute
        'delete from warehouse.keys where '
        || warehouse.condition_of_holding('warehouse.keys', of_client is not null)
    using sought, of_client;
    get diagnostics keys = row_count;
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
    return jsonb_strip_nulls(
        jsonb_build_object('warehouse.tenants', nullif(n, 0), 'warehouse.keys', nullif(keys, 0))
    );
end
$$;
