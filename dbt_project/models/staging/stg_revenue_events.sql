with

raw_events as (
    select * from {{ source('staging', 'raw_events') }}
    where event = 'revenue'
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
        raw_events.properties ->> 'type' as type,
        raw_events.properties ->> 'plan_type' as plan_type,
        raw_events.properties ->> 'payment_provider' as payment_provider,
        raw_events.properties ->> 'payment_id' as payment_id,

        (raw_events.properties ->> 'amount_usd')::numeric
        * case when raw_events.properties ->> 'type' = 'refund' then -1 else 1 end as amount_usd,

        raw_events."timestamp" as occurred_at,
        (raw_events."timestamp" at time zone 'utc')::date as occurred_on
    from raw_events
    inner join batches on raw_events.batch_id = batches.batch_id
)

select * from typed
