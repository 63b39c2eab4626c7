with

raw_events as (
    select * from {{ source('staging', 'raw_events') }}
    where event = 'api_cost'
),

batches as (
    select * from {{ source('staging', 'event_batches') }}
),

typed as (
    select
        raw_events.client_id,
        raw_events.event_id,
        batches.batch_seq,

        raw_events.properties ->> 'service' as service,

        (raw_events.properties ->> 'cost_cents')::numeric::bigint as cost_cents,

        raw_events."timestamp" as occurred_at,
        (raw_events."timestamp" at time zone 'utc')::date as occurred_on
    from raw_events
    inner join batches on raw_events.batch_id = batches.batch_id
)

select * from typed
