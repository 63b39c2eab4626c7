with

raw_events as (
    select * from {{ source('staging', 'raw_events') }}
    where event = 'system_metric'
),

batches as (
    select * from {{ source('staging', 'event_batches') }}
),

typed as (
    select
        raw_events.client_id,
        raw_events.event_id,
        batches.batch_seq,

        raw_events.properties ->> 'server_id' as server_id,
        raw_events.properties ->> 'metric_type' as metric_type,

        (raw_events.properties ->> 'metric_value')::numeric as metric_value,

        raw_events."timestamp" as occurred_at,
        date_trunc('hour', raw_events."timestamp", 'UTC') as occurred_hour,
        (raw_events."timestamp" at time zone 'utc')::date as occurred_on
    from raw_events
    inner join batches on raw_events.batch_id = batches.batch_id
)

select * from typed
