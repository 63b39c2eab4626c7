with

-- Columns by name: analysts are granted these (warehouse/schema/access/grants/analyst.sql).
loads as (
    select
        load_id,
        kind,
        source,
        state,
        error,
        ended_at
    from {{ source('staging', 'loads') }}
    where state <> 'running'
),

batches as (
    select
        load_id,
        sum(received) as received,
        sum(accepted) as accepted
    from {{ source('staging', 'event_batches') }}
    group by load_id
),

builds as (
    select
        invocation_id,
        batch_seq,
        as_of,
        window_start,
        window_end,
        full_refresh,
        state,
        started_at,
        ended_at
    from {{ source('warehouse', 'builds') }}
    where state <> 'running'
),

runs as (
    select
        run_id,
        event,
        job,
        occurred_at,
        detail
    from {{ source('warehouse', 'run_events') }}
),

exports as (
    select
        export_id,
        target,
        state,
        reason,
        accepted_by,
        run,
        build,
        ended_at
    from {{ source('warehouse', 'exports') }}
    where state <> 'running'
),

happened as (
    select
        loads.ended_at as occurred_at,
        case loads.state when 'finished' then 'load_done' else 'load_failed' end as event,
        jsonb_strip_nulls(jsonb_build_object(
            'load_id', loads.load_id,
            'kind', loads.kind,
            'source', loads.source,
            'received', coalesce(batches.received, 0),
            'accepted', coalesce(batches.accepted, 0),
            'error', loads.error
        )) as detail
    from loads
    left join batches on loads.load_id = batches.load_id
    union all
    select
        ended_at as occurred_at,
        case state when 'done' then 'build_done' else 'build_failed' end as event,
        jsonb_strip_nulls(jsonb_build_object(
            'invocation_id', invocation_id,
            'batch_seq', batch_seq,
            'as_of', {{ iso_of('as_of') }},
            'window_start', window_start,
            'window_end', window_end,
            'full_refresh', full_refresh,
            'started_at', {{ iso_of('started_at') }}
        )) as detail
    from builds
    union all
    select
        occurred_at,
        event,
        jsonb_build_object('run_id', run_id, 'job', job, 'detail', detail) as detail
    from runs
    union all
    select
        ended_at as occurred_at,
        case state when 'done' then 'export_done' else 'export_refused' end as event,
        jsonb_strip_nulls(jsonb_build_object(
            'export_id', export_id,
            'target', target,
            'build', build,
            'run', run,
            'reason', reason,
            'accepted_by', accepted_by
        )) as detail
    from exports
)

select * from happened
