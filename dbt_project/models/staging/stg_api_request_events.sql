with

raw_events as (
    select * from {{ source('staging', 'raw_events') }}
    where event = 'api_request'
),

batches as (
    select * from {{ source('staging', 'event_batches') }}
),

typed as (
    select
        raw_events.client_id,
        raw_events.event_id,
        batches.batch_seq,

        nullif(raw_events.actor ->> 'user_id', '') as user_id,
        raw_events.properties ->> 'endpoint' as endpoint,
        raw_events.properties ->> 'method' as method,
        raw_events.properties ->> 'error_message' as error_message,

        (raw_events.properties ->> 'status_code')::numeric::integer as status_code,
        (raw_events.properties ->> 'response_time_ms')::numeric as response_time_ms,

        raw_events."timestamp" as occurred_at,
        date_trunc('hour', raw_events."timestamp", 'UTC') as occurred_hour,
        (raw_events."timestamp" at time zone 'utc')::date as occurred_on
    from raw_events
    inner join batches on raw_events.batch_id = batches.batch_id
)

select * from typed
