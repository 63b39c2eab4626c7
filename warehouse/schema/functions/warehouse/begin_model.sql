-- The offset protocol, first half (end_model is the other one; run_model calls both).
-- A model's transaction: begin_model (lock, decide what to read), write rows, end_model (move the
-- offset). begin_model returns the mode and passes its decision to the model's SQL, whose text is the
-- same in every build, in transaction-local settings:
--   warehouse.invocation    the build
--   warehouse.mode          full: every cell · incremental: touched cells · window: a backfill
--   warehouse.from_batch, warehouse.from_as_of   current offset (exclusive, inclusive)
--   warehouse.to_batch, warehouse.to_as_of       target offset (inclusive, exclusive)
--   warehouse.window_start, warehouse.window_end of a backfill, else empty
--
-- A model that reads past an erasure whose rows were deleted from warehouse.erased_rows is recomputed
-- in full, in place.
create or replace function warehouse.begin_model(
    stored warehouse.stored_models, invocation text, is_new boolean
) returns text
-- No lock timeout: a build waits as long as another build writes the model.
language plpgsql set lock_timeout = 0 as $$
declare
    build warehouse.builds;
    current_offset warehouse.model_offsets;
    target_offset warehouse.model_offsets;
    missing text;
    run_mode text;
    is_past_erasure boolean;
begin
    perform warehouse.lock_model(stored.model);
    select * into build from warehouse.builds as b where b.invocation_id = invocation;
    if not found then
        raise exception 'this build has no row in warehouse.builds'
            using hint = 'Build with `warehouse build` or `dbt build`.';
    end if;
    select u.name into missing
    from unnest(stored.upstream) as u (name)
    where not exists (select 1 from warehouse.model_offsets as o where o.model = u.name)
    limit 1;
    if found then
        raise exception '% reads %, which was never built', stored.model, missing
        using hint = format('Build it first: `warehouse build --select +%s`.', stored.model);
    end if;
    select * into current_offset from warehouse.model_offsets as o where o.model = stored.model;

    -- The build's high-water mark, or the lowest offset of the upstream models if that is lower.
    select
        least(build.batch_seq, min(o.batch_seq)),
        case when stored.is_fact then 'infinity' else least(build.as_of, min(o.as_of)) end
    into target_offset.batch_seq, target_offset.as_of
    from warehouse.model_offsets as o
    where o.model = any(stored.upstream);

    is_past_erasure := not stored.is_fact and exists (
        select 1 from staging.event_batches as b
        where b.kind = 'erasure' and b.batch_seq > current_offset.batch_seq and b.batch_seq <= build.batch_seq
    );
    if is_new or current_offset.model is null or current_offset.checksum <> stored.checksum or build.full_refresh then
        run_mode := 'full';
        if stored.is_fact and not build.allows_lost_events and exists (select 1 from staging.dropped_months) then
            raise exception '% can not be rebuilt: retention has dropped events that are nowhere else',
                stored.model
            using hint = 'To lose them, build with --allow-lost-events.';
        end if;
        -- What the fact of all events loses now is counted, so that the reconciliation explains it.
        if stored.holds_every_event then
            create temporary table events_left on commit drop as
            select r.batch_id, count(*) as events from staging.raw_events as r group by r.batch_id;
            update staging.event_batches as b
            set erased = b.accepted - n.events
            from (
                select d.batch_seq, coalesce(sum(l.events), 0) as events
                from staging.event_batches as d
                left join pg_temp.events_left as l on d.batch_id = l.batch_id
                group by d.batch_seq
            ) as n
            where
                b.batch_seq = n.batch_seq
                and b.batch_seq <= target_offset.batch_seq
                and exists (
                    select 1 from staging.dropped_months as d
                    where
                        d.month >= date_trunc('month', b.min_timestamp at time zone 'utc')
                        and d.month <= b.max_timestamp at time zone 'utc'
                );
            drop table pg_temp.events_left;
        end if;
    elsif build.window_start is not null then
        run_mode := 'window';
        target_offset := current_offset;
    else
        run_mode := 'incremental';
        -- Another build may have moved the model past this build's high-water mark: then there is
        -- nothing to do.
        target_offset.batch_seq := greatest(target_offset.batch_seq, current_offset.batch_seq);
        target_offset.as_of := greatest(target_offset.as_of, current_offset.as_of);
        -- warehouse.erased_rows shows which cells an erasure touched, until it is emptied.
        if is_past_erasure and exists (
            select 1 from warehouse.erasures as e
            where
                e.rows_forgotten_at is not null
                and e.batch_seq > current_offset.batch_seq
                and e.batch_seq <= target_offset.batch_seq
        ) then
            run_mode := 'full';
        end if;
    end if;
    -- A backfill recomputes marts but leaves facts unchanged.
    if run_mode = 'full' or (run_mode = 'window' and not stored.is_fact) then
        current_offset.batch_seq := -1;
        current_offset.as_of := '-infinity';
    end if;

    perform warehouse.set_locally(jsonb_build_object(
        'warehouse.invocation', invocation,
        'warehouse.mode', run_mode,
        'warehouse.is_past_erasure', is_past_erasure::text,
        'warehouse.from_batch', current_offset.batch_seq::text,
        'warehouse.from_as_of', current_offset.as_of::text,
        'warehouse.to_batch', target_offset.batch_seq::text,
        'warehouse.to_as_of', target_offset.as_of::text,
        'warehouse.window_start', coalesce(build.window_start::text, ''),
        'warehouse.window_end', coalesce(build.window_end::text, '')
    ));
    return run_mode;
end
$$;
