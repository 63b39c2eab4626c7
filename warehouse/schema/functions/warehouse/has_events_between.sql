-- Whether an event of the batches up to `batch` happened, or will, in [since, until): before `since` a
-- build could read the batch but not the event.
create or replace function warehouse.has_events_between(
    batch bigint, since timestamptz, until timestamptz
) returns boolean
language plpgsql stable as $$
begin
    -- In few batches, usually in none.
    return exists (
        select 1 from staging.event_batches as b
        inner join staging.raw_events as e on b.batch_id = e.batch_id
        where
            b.max_timestamp >= since
            and b.batch_seq <= batch
            and e."timestamp" >= since
            and e."timestamp" < until
    );
end
$$;

revoke all on function warehouse.has_events_between(bigint, timestamptz, timestamptz) from public;
