-- The offset protocol, first half (end_model is the other one).
-- A model's transaction: begin_model (lock, decide what to read, say so in transaction-local
-- settings), rows, end_model (move the offset). The settings, read by the model's SQL:
--   warehouse.mode          full: every cell · incremental: touched cells · window: a backfill
--   warehouse.from_batch, warehouse.from_as_of   where the model stood (exclusive, inclusive)
--   warehouse.to_batch, warehouse.to_as_of       where it goes (inclusive, exclusive)
--   warehouse.window_start, warehouse.window_end of a backfill, else empty
--
-- A model that goes past an erasure which is forgotten is recomputed in full, in place.
drop function if exists warehouse.begin_model(text, text, text, text [], boolean, boolean);
create or replace function warehouse.begin_model(
    model_name text, invocation text, code_checksum text, upstream text [], is_fact boolean,
    is_new boolean, holds_every_event boolean
) returns text
-- A build waits for another one that is at the model, however long that takes.
language plpgsql set lock_timeout = 0 as $$
declare
    pin warehouse.builds;
    stands warehouse.model_offsets;
    goes_to warehouse.model_offsets;
    missing text;
    run_mode text;
    is_past_erasure boolean;
begin
    perform warehouse.lock_model(model_name);
    select * into pin from warehouse.builds as b where b.invocation_id = invocation;
    if not found then
        raise exception 'this build has no pin' using hint = 'Build through `warehouse build` or `dbt build`.';
    end if;
    select u.name into missing
    from unnest(upstream) as u (name)
    where not exists (select from warehouse.model_offsets as o where o.model = u.name)
    limit 1;
    if found then
        raise exception '% reads %, which was never built', model_name, missing
        using hint = format('Build it first: `warehouse build --select +%s`.', model_name);
    end if;
    select * into stands from warehouse.model_offsets as o where o.model = model_name;

    -- The build's pinned batch, or less where an upstream model has read less.
    select
        least(pin.batch_seq, min(o.batch_seq)),
        case when is_fact then 'infinity' else least(pin.as_of, min(o.as_of)) end
    into goes_to.batch_seq, goes_to.as_of
    from warehouse.model_offsets as o
    where o.model = any(upstream);

    is_past_erasure := not is_fact and exists (
        select from staging.event_batches as b
        where b.kind = 'erasure' and b.batch_seq > stands.batch_seq and b.batch_seq <= pin.batch_seq
    );
    if is_new or stands.model is null or stands.checksum <> code_checksum or pin.full_refresh then
        run_mode := 'full';
        if is_fact and not pin.allows_lost_events and exists (select from staging.dropped_months) then
            raise exception '% can not be rebuilt: retention has dropped events that are nowhere else',
                model_name
            using hint = 'To lose them, build with --allow-lost-events.';
        end if;
        -- What the fact of all events loses now is counted, so that the reconciliation explains it.
        if holds_every_event then
            update staging.event_batches as b
            set erased = b.accepted - (
                select count(*) from staging.raw_events as r where r.batch_id = b.batch_id
            )
            where b.batch_seq <= goes_to.batch_seq and exists (
                select from staging.dropped_months as d
                where
                    d.month >= date_trunc('month', b.min_timestamp at time zone 'utc')
                    and d.month <= b.max_timestamp at time zone 'utc'
            );
        end if;
    elsif pin.window_start is not null then
        run_mode := 'window';
        goes_to := stands;
    else
        run_mode := 'incremental';
        -- Another build may have moved the model past this one's pin: then nothing is left to do.
        goes_to.batch_seq := greatest(goes_to.batch_seq, stands.batch_seq);
        goes_to.as_of := greatest(goes_to.as_of, stands.as_of);
        -- What was erased tells which cells it was in, until that is forgotten.
        if is_past_erasure and exists (
            select from warehouse.erasures as e
            where
                e.rows_forgotten_at is not null
                and e.batch_seq > stands.batch_seq
                and e.batch_seq <= goes_to.batch_seq
        ) then
            run_mode := 'full';
        end if;
    end if;
    -- A backfill recomputes marts: events that are in a fact stay as they are.
    if run_mode = 'full' or (run_mode = 'window' and not is_fact) then
        stands.batch_seq := -1;
        stands.as_of := '-infinity';
    end if;

    perform
        set_config('warehouse.mode', run_mode, true),
        set_config('warehouse.is_past_erasure', is_past_erasure::text, true),
        set_config('warehouse.from_batch', stands.batch_seq::text, true),
        set_config('warehouse.from_as_of', stands.as_of::text, true),
        set_config('warehouse.to_batch', goes_to.batch_seq::text, true),
        set_config('warehouse.to_as_of', goes_to.as_of::text, true),
        set_config('warehouse.window_start', coalesce(pin.window_start::text, ''), true),
        set_config('warehouse.window_end', coalesce(pin.window_end::text, ''), true);
    return run_mode;
end
$$;
