-- Spreads an empty table over the workers of a cluster by client_id, where events are. Does nothing on one
-- server.
create or replace function warehouse.distribute(relation regclass) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if
        warehouse.is_distributed('staging.raw_events'::regclass)
        and not warehouse.is_distributed(relation)
    then
        perform create_distributed_table(relation, 'client_id', colocate_with => 'staging.raw_events');
    end if;
end
$$;

revoke all on function warehouse.distribute(regclass) from public;
