-- Permissions to load data into staging.

grant usage on schema staging to warehouse_loader;

-- For the erasures whose lines are suppressed, and for locks.
grant usage on schema warehouse to warehouse_loader;

grant usage on sequence staging.batch_ids to warehouse_loader;

grant select on
    staging.dropped_months,
    warehouse.erasure_key,
    warehouse.keys
to warehouse_loader;

grant select (erasure_id, is_of_one_client, subject_hash, identifier_length, identifier_hash)
on warehouse.erasures to warehouse_loader;

-- Keys only, to find duplicates.
grant insert, select (client_id, event_id, "timestamp") on staging.raw_events to warehouse_loader;

grant select, insert, update (state, error, ended_at) on staging.loads to warehouse_loader;

grant select, insert on staging.event_batches to warehouse_loader;

grant select, insert, update on staging.source_cursors to warehouse_loader;

grant insert on
    staging.rejected_events,
    staging.suppressed_events,
    staging.used_sequences
to warehouse_loader;

-- A load reports those of all of its batches.
grant select, insert on staging.unknown_members to warehouse_loader;

grant select, insert, delete on staging.visitor_salts to warehouse_loader;

grant update on
    warehouse.lock_batch_seq,
    warehouse.lock_landing
to warehouse_loader;

grant select, insert, update on
    staging.clients,
    staging.units,
    staging.users,
    staging.documents
to warehouse_loader;

grant execute on function
    staging.add_raw_partitions,
    staging.landed_and_dropped,
    warehouse.blockers
to warehouse_loader;
