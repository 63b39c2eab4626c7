with

raw_events as (
    select * from {{ source('staging', 'raw_events') }}
    where event in ('analytics.dashboard_view', 'analytics.filter_change', 'analytics.export')
),

batches as (
    select * from {{ source('staging', 'event_batches') }}
),

typed as (
    select
        raw_events.client_id,
        raw_events.event_id,
        batches.batch_seq,

        raw_events.event,
        nullif(raw_events.actor ->> 'user_id', '') as user_id,
        raw_events.properties ->> 'view' as view,

        raw_events."timestamp" as occurred_at,
        (raw_events."timestamp" at time zone 'utc')::date as occurred_on
    from raw_events
    inner join batches on raw_events.batch_id = batches.batch_id
)

select * from typed
