-- What builds need to be incremental, and what leaves the warehouse.

create schema export;

-- Builds and their pins --------------------------------------------------------------------------

create table warehouse.builds (
    invocation_id text primary key,
    batch_seq bigint not null,
    as_of timestamptz not null,
    window_start date,
    window_end date,
    full_refresh boolean not null,
    code_digest text,
    state text not null default 'running' check (state in ('running', 'done', 'failed')),
    started_at timestamptz not null default clock_timestamp(),
    ended_at timestamptz,
    check ((window_start is null) = (window_end is null) and window_start < window_end)
);

comment on table warehouse.builds is
'One row per build, keyed by dbt''s invocation id: what it was pinned to, once, so that all its models speak of the same data.';
comment on column warehouse.builds.batch_seq is 'The highest batch that the build reads.';
comment on column warehouse.builds.as_of is 'The instant that the build looks from.';
comment on column warehouse.builds.code_digest is
'Digest of the dbt project''s files, set by builds of all models: tells that nothing was changed since.';
comment on column warehouse.builds.window_start is 'A backfill recomputes [window_start, window_end) and moves no offset.';

create table warehouse.model_offsets (
    model text primary key,
    batch_seq bigint not null,
    as_of timestamptz not null,
    checksum text not null,
    moved_at timestamptz not null default clock_timestamp()
);

comment on table warehouse.model_offsets is
'How far each model has read: all batches up to batch_seq, and of them the events before as_of. Moved in the transaction that writes the model''s rows.';
comment on column warehouse.model_offsets.as_of is
'infinity for typed facts, which hold every event; what marts may see of them is decided there.';
comment on column warehouse.model_offsets.checksum is 'Of the model''s code: changed code is rebuilt.';

create table warehouse.sliding_models (
    model text primary key,
    statements text [] not null
);

comment on table warehouse.sliding_models is
'Models whose rows change with as_of alone, with the SQL that rewrites them, so that a build with nothing new needs no dbt.';

create table warehouse.view_digests (
    view_name text primary key,
    digest text not null
);

comment on table warehouse.view_digests is
'The text that each view was made from: a view is replaced only when it changes.';

create table warehouse.check_results (
    check_name text not null,
    checked_at timestamptz not null default clock_timestamp(),
    source text not null check (source in ('dbt', 'great_expectations')),
    model text,
    severity text not null check (severity in ('error', 'warn')),
    passed boolean not null,
    failures bigint,
    detail text,
    batch_seq bigint not null,
    as_of timestamptz,
    primary key (check_name, checked_at)
);

comment on table warehouse.check_results is
'Every check that ran. The export stands still while the latest result of any error check is a failure.';
comment on column warehouse.check_results.batch_seq is 'The batch up to which the checked rows were built or landed.';

-- The offset protocol ----------------------------------------------------------------------------
-- A model's transaction: begin_model (lock, decide what to read, say so in transaction-local
-- settings), rows, end_model (move the offset). The settings, read by the model's SQL:
--   warehouse.mode          full: every cell · incremental: touched cells · window: a backfill
--   warehouse.from_batch, warehouse.from_as_of   where the model stood (exclusive, inclusive)
--   warehouse.to_batch, warehouse.to_as_of       where it goes (inclusive, exclusive)
--   warehouse.window_start, warehouse.window_end of a backfill, else empty

-- The as_of that the marts stand at: that of the one that stands furthest.
create function warehouse.last_as_of() returns timestamptz
language sql stable as $$
    select max(o.as_of) from warehouse.model_offsets as o where o.as_of < 'infinity'
$$;

create function warehouse.refuse_earlier_as_of(wanted_as_of timestamptz) returns void
language plpgsql stable as $$
begin
    if wanted_as_of < warehouse.last_as_of() then
        raise exception 'as_of % lies before that of the last build, %',
            wanted_as_of, warehouse.last_as_of()
        using hint = 'An incremental build only moves forward: leave --as-of out, give a later one, or use --full-refresh.';
    end if;
end
$$;

create function warehouse.pin_build(
    invocation text,
    wanted_as_of timestamptz,
    start_day date,
    end_day date,
    refresh boolean,
    code_digest text
) returns warehouse.builds
language plpgsql as $$
declare
    last_as_of timestamptz := warehouse.last_as_of();
    pin warehouse.builds;
begin
    if start_day is not null then
        -- A backfill looks from where the marts stand.
        wanted_as_of := last_as_of;
    elsif not refresh then
        perform warehouse.refuse_earlier_as_of(wanted_as_of);
    end if;
    insert into warehouse.builds
        (invocation_id, batch_seq, as_of, window_start, window_end, full_refresh, code_digest)
    select
        invocation,
        coalesce((select max(b.batch_seq) from staging.event_batches as b), 0),
        coalesce(wanted_as_of, greatest(now(), last_as_of)),
        start_day,
        end_day,
        refresh,
        code_digest
    returning * into pin;
    return pin;
end
$$;

create function warehouse.begin_model(
    model_name text, invocation text, code_checksum text, upstream text [], is_fact boolean,
    is_new boolean
) returns text
language plpgsql as $$
declare
    pin warehouse.builds;
    stands warehouse.model_offsets;
    goes_to warehouse.model_offsets;
    missing text;
    run_mode text;
begin
    perform pg_advisory_xact_lock(hashtextextended('warehouse.model ' || model_name, 0));
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

    -- The pin, or less where an upstream model stands lower.
    select
        least(pin.batch_seq, min(o.batch_seq)),
        case when is_fact then 'infinity' else least(pin.as_of, min(o.as_of)) end
    into goes_to.batch_seq, goes_to.as_of
    from warehouse.model_offsets as o
    where o.model = any(upstream);

    if is_new or stands.model is null or stands.checksum <> code_checksum or pin.full_refresh then
        run_mode := 'full';
    elsif pin.window_start is not null then
        run_mode := 'window';
        goes_to := stands;
    else
        run_mode := 'incremental';
        -- Another build may have moved the model past this one's pin: then nothing is left to do.
        goes_to.batch_seq := greatest(goes_to.batch_seq, stands.batch_seq);
        goes_to.as_of := greatest(goes_to.as_of, stands.as_of);
    end if;
    -- A backfill recomputes marts: events that are in a fact stay as they are.
    if run_mode = 'full' or (run_mode = 'window' and not is_fact) then
        stands.batch_seq := -1;
        stands.as_of := '-infinity';
    end if;

    perform
        set_config('warehouse.mode', run_mode, true),
        set_config('warehouse.from_batch', stands.batch_seq::text, true),
        set_config('warehouse.from_as_of', stands.as_of::text, true),
        set_config('warehouse.to_batch', goes_to.batch_seq::text, true),
        set_config('warehouse.to_as_of', goes_to.as_of::text, true),
        set_config('warehouse.window_start', coalesce(pin.window_start::text, ''), true),
        set_config('warehouse.window_end', coalesce(pin.window_end::text, ''), true);
    return run_mode;
end
$$;

create function warehouse.end_model(model_name text, code_checksum text) returns void
language sql as $$
    insert into warehouse.model_offsets as o (model, batch_seq, as_of, checksum)
    select
        model_name,
        current_setting('warehouse.to_batch')::bigint,
        current_setting('warehouse.to_as_of')::timestamptz,
        code_checksum
    where current_setting('warehouse.mode') <> 'window'
    on conflict (model) do update set
        batch_seq = excluded.batch_seq,
        as_of = excluded.as_of,
        checksum = excluded.checksum,
        moved_at = excluded.moved_at
$$;

-- Tells whether a build at this as_of would read anything that the models have not read.
create function warehouse.has_news(wanted_as_of timestamptz) returns boolean
language sql stable as $$
    with

    newest as (
        select coalesce(max(batch_seq), 0) as batch_seq from staging.event_batches
    ),

    stands as (
        select min(batch_seq) as batch_seq, min(as_of) as as_of from warehouse.model_offsets
    ),

    -- Batches with events that were still ahead of the last as_of: few, mostly none.
    ahead as (
        select b.batch_id, s.as_of
        from staging.event_batches as b
        cross join stands as s
        where b.max_timestamp >= s.as_of
    )

    select
        coalesce((select s.batch_seq from stands as s) < (select n.batch_seq from newest as n), true)
        or exists (
            select from ahead
            inner join staging.raw_events as e on ahead.batch_id = e.batch_id
            where e."timestamp" >= ahead.as_of and e."timestamp" < wanted_as_of
        )
        or exists (
            select from staging.users as u
            where
                u.created_at >= (select s.as_of from stands as s) and u.created_at < wanted_as_of
        )
$$;

-- A build with nothing new: moves every model's as_of and rewrites what slides with it. Returns
-- false, with nothing done, where there is news, or where the last build failed, was not of all models
-- or was of other code: then dbt has to run.
create function warehouse.slide(
    invocation text, wanted_as_of timestamptz, digest text
) returns boolean
language plpgsql as $$
declare
    sliding warehouse.sliding_models;
    stands warehouse.model_offsets;
    pin warehouse.builds;
    one_statement text;
begin
    -- A build of some models leaves no digest: they may be of other code than the rest.
    if not exists (
        select
        from (select * from warehouse.builds as b order by b.started_at desc limit 1) as latest
        where latest.state = 'done' and latest.code_digest = digest
    ) then
        return false;
    end if;
    pin := warehouse.pin_build(invocation, wanted_as_of, null, null, false, digest);
    for stands in select * from warehouse.model_offsets order by model loop
        perform pg_advisory_xact_lock(hashtextextended('warehouse.model ' || stands.model, 0));
    end loop;
    if warehouse.has_news(pin.as_of) then
        delete from warehouse.builds where invocation_id = invocation;
        return false;
    end if;
    update warehouse.model_offsets as o set as_of = pin.as_of, moved_at = clock_timestamp()
    where o.as_of < pin.as_of;
    perform
        set_config('warehouse.mode', 'incremental', true),
        set_config('warehouse.to_batch', pin.batch_seq::text, true),
        set_config('warehouse.to_as_of', pin.as_of::text, true);
    for sliding in select * from warehouse.sliding_models order by model loop
        foreach one_statement in array sliding.statements loop
            execute one_statement;
        end loop;
    end loop;
    update warehouse.builds set state = 'done', ended_at = clock_timestamp()
    where invocation_id = invocation;
    return true;
end
$$;

-- What leaves the warehouse ----------------------------------------------------------------------

create table export.analytics_platform_stats (
    id integer primary key check (id = 1),
    active_users bigint not null check (active_users >= 0),
    questions_answered bigint not null check (questions_answered >= 0),
    pdf_downloads bigint not null check (pdf_downloads >= 0),
    engagement_rate numeric(12, 4) check (engagement_rate >= 0),
    updated_at timestamptz not null
);

comment on table export.analytics_platform_stats is
'Exactly one row: what the marketing site shows. Written by the export alone, only when every blocking check has passed.';
comment on column export.analytics_platform_stats.active_users is
'Units with a session in the 30 x 24 h before updated_at.';
comment on column export.analytics_platform_stats.questions_answered is 'Chat events ever.';
comment on column export.analytics_platform_stats.pdf_downloads is 'PDF downloads ever.';
comment on column export.analytics_platform_stats.engagement_rate is
'Active users / units; empty without units; may exceed 1.';
comment on column export.analytics_platform_stats.updated_at is
'The instant that the row looks from: as_of of the build it came from.';
