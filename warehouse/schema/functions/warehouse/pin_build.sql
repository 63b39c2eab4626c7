-- Registers a build with its high-water mark: the batches and the as_of that all its models read up to.
-- It waits for a batch that is being committed: on a cluster the nodes do not commit at the same moment,
-- so a batch may be in the ledger before all of its rows can be seen.
create or replace function warehouse.pin_build(
    invocation text,
    wanted_as_of timestamptz,
    start_day date,
    end_day date,
    refresh boolean
) returns warehouse.builds
language plpgsql as $$
declare
    last_as_of timestamptz := warehouse.last_as_of();
    build warehouse.builds;
begin
    if start_day is not null then
        -- A backfill recomputes for the as_of that the marts already have.
        wanted_as_of := last_as_of;
    elsif not refresh then
        perform warehouse.refuse_earlier_as_of(wanted_as_of);
    end if;
    lock table warehouse.lock_batch_seq in row share mode;
    insert into warehouse.builds
        (invocation_id, batch_seq, as_of, window_start, window_end, full_refresh)
    select
        invocation,
        coalesce((select max(b.batch_seq) from staging.event_batches as b), 0),
        coalesce(wanted_as_of, greatest(now(), last_as_of)),
        start_day,
        end_day,
        refresh
    returning * into build;
    return build;
end
$$;
