-- Copies a small table to each worker of a cluster, which then joins it. Does nothing on one server.
create or replace function warehouse.replicate(relation regclass) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if
        warehouse.is_distributed('staging.raw_events'::regclass)
        and not warehouse.is_distributed(relation)
    then
        perform create_reference_table(relation);
    end if;
end
$$;

revoke all on function warehouse.replicate(regclass) from public;
