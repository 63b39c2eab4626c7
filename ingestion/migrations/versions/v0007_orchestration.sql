-- What runs leave behind: what each build touched, which runs failed, what was exported.

-- Builds of some models ---------------------------------------------------------------------------

alter table warehouse.builds add column models text [];

comment on column warehouse.builds.models is 'The models that it was to build; empty for all of them.';
comment on column warehouse.builds.code_digest is
'Digest of the dbt project''s files, but of backfills: tells that nothing was changed since.';

create table warehouse.touched_periods (
    invocation_id text not null,
    model text not null,
    period_start date,
    rows_written bigint not null,
    from_batch bigint not null,
    to_batch bigint not null
);

comment on table warehouse.touched_periods is
'What each build of the last week wrote: a row per model, and one per day, week or month of it where the model has periods.';
comment on column warehouse.touched_periods.period_start is
'First day of the period; empty in the row for the model as a whole.';
comment on column warehouse.touched_periods.rows_written is 'Rows that the period''s touched cells have now.';
comment on column warehouse.touched_periods.from_batch is 'The build read the batches after this one,';
comment on column warehouse.touched_periods.to_batch is 'up to and with this one.';

create index on warehouse.touched_periods (invocation_id);

drop function warehouse.has_news(timestamptz);
drop function warehouse.slide(text, timestamptz, text);

-- Whether some models, or all where none are named, have anything to read.
create function warehouse.has_news(wanted_as_of timestamptz, of_models text []) returns boolean
language sql stable as $$
    with

    newest as (
        select coalesce(max(batch_seq), 0) as batch_seq from staging.event_batches
    ),

    stands as (
        select min(batch_seq) as batch_seq, min(as_of) as as_of
        from warehouse.model_offsets
        where of_models is null or model = any(of_models)
    ),

    -- Batches with events that were still ahead of the last as_of: few, mostly none.
    ahead as (
        select b.batch_id, s.as_of
        from staging.event_batches as b
        cross join stands as s
        where b.max_timestamp >= s.as_of
    ),

    moments as (
        select created_at as moment from staging.users
        union all
        select created_at from staging.clients
        union all
        select churned_at from staging.clients
    )

    select
        coalesce((select s.batch_seq from stands as s) < (select n.batch_seq from newest as n), true)
        or exists (
            select from stands as s
            where date_trunc('day', s.as_of, 'utc') < date_trunc('day', wanted_as_of, 'utc')
        )
        or exists (
            select from ahead
            inner join staging.raw_events as e on ahead.batch_id = e.batch_id
            where e."timestamp" >= ahead.as_of and e."timestamp" < wanted_as_of
        )
        or exists (
            select from moments as m
            where m.moment >= (select s.as_of from stands as s) and m.moment < wanted_as_of
        )
$$;

-- A build with nothing new, of some models or of all where none are named: moves their as_of and
-- rewrites what slides with it. Returns false, with nothing done, where there is news, or where no
-- build of this code vouches for the models: then dbt has to run.
create function warehouse.slide(
    invocation text, wanted_as_of timestamptz, digest text, of_models text []
) returns boolean
language plpgsql as $$
declare
    sliding warehouse.sliding_models;
    stands warehouse.model_offsets;
    pin warehouse.builds;
    one_statement text;
begin
    -- The last build that wrote the models, all of them, and none since that may have left one of
    -- them unbuilt or of other code. Backfills change no code.
    if not exists (
        select from warehouse.builds as b
        where
            b.window_start is null
            and b.state = 'done'
            and b.code_digest = digest
            and (b.models is null or b.models @> of_models)
            and not exists (
                select from warehouse.builds as later
                where
                    later.started_at > b.started_at
                    and later.window_start is null
                    and (of_models is null or later.models is null or later.models && of_models)
                    and (later.state, later.code_digest) is distinct from ('done', digest)
            )
    ) then
        return false;
    end if;
    pin := warehouse.pin_build(invocation, wanted_as_of, null, null, false, digest);
    update warehouse.builds set models = of_models where invocation_id = invocation;
    for stands in
        select * from warehouse.model_offsets where of_models is null or model = any(of_models) order by model
    loop
        perform pg_advisory_xact_lock(hashtextextended('warehouse.model ' || stands.model, 0));
    end loop;
    if warehouse.has_news(pin.as_of, of_models) then
        delete from warehouse.builds where invocation_id = invocation;
        return false;
    end if;
    update warehouse.model_offsets as o set as_of = pin.as_of, moved_at = clock_timestamp()
    where o.as_of < pin.as_of and (of_models is null or o.model = any(of_models));
    perform
        set_config('warehouse.mode', 'incremental', true),
        set_config('warehouse.to_batch', pin.batch_seq::text, true),
        set_config('warehouse.to_as_of', pin.as_of::text, true);
    for sliding in
        select * from warehouse.sliding_models where of_models is null or model = any(of_models) order by model
    loop
        foreach one_statement in array sliding.statements loop
            execute one_statement;
        end loop;
        insert into warehouse.touched_periods
            (invocation_id, model, rows_written, from_batch, to_batch)
        select invocation, o.model, coalesce(o.row_count, 0), pin.batch_seq, pin.batch_seq
        from warehouse.model_offsets as o
        where o.model = sliding.model;
    end loop;
    update warehouse.builds set state = 'done', ended_at = clock_timestamp()
    where invocation_id = invocation;
    return true;
end
$$;

-- Runs that failed --------------------------------------------------------------------------------

create table warehouse.run_events (
    run_id text not null,
    event text not null check (event in ('run_failed', 'run_recovered')),
    job text not null,
    occurred_at timestamptz not null,
    detail text not null,
    primary key (run_id, event)
);

comment on table warehouse.run_events is
'Runs that failed, and the first ones of the same job that succeeded again.';

-- Exports ----------------------------------------------------------------------------------------

create table warehouse.exports (
    export_id bigint generated always as identity primary key,
    target text not null,
    state text not null default 'running' check (state in ('running', 'done', 'refused')),
    reason text,
    accepted_by text,
    run text,
    build text not null,
    batch_seq bigint not null,
    checked_at timestamptz not null,
    erased bigint not null,
    active_users bigint not null,
    questions_answered bigint not null,
    pdf_downloads bigint not null,
    engagement_rate numeric(12, 4),
    updated_at timestamptz not null,
    started_at timestamptz not null default clock_timestamp(),
    ended_at timestamptz
);

comment on table warehouse.exports is
'Every row that was exported or refused for its change against the last: its figures, and what they came from.';
comment on column warehouse.exports.target is 'The database that the row was for, without user and password.';
comment on column warehouse.exports.state is
'running also where an exporter was killed: the row itself tells whether it had come there.';
comment on column warehouse.exports.reason is 'Why it was refused, or what was accepted all the same.';
comment on column warehouse.exports.accepted_by is 'Who has let a change beyond the bounds pass.';
comment on column warehouse.exports.run is 'The run that exported; empty from the command line.';
comment on column warehouse.exports.build is 'The build that the figures came from: warehouse.builds.invocation_id.';
comment on column warehouse.exports.erased is
'Events that erasures had taken out by then: what was erased since explains that figures fall.';
comment on column warehouse.exports.checked_at is 'The run of checks that looked at the figures: warehouse.check_results.checked_at.';

-- Dagster's own storage, where it is kept here (WAREHOUSE_DAGSTER_STORAGE).
create schema dagster;
