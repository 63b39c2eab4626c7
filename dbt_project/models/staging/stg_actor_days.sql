-- Who did anything at all, and when first on a day: of each batch, actor and day the first event.
with

raw_events as (
    select
        client_id,
        event_id,
        batch_id,
        "timestamp" as occurred_at,
        ("timestamp" at time zone 'utc')::date as occurred_on,
        nullif(actor ->> 'user_id', '') as user_id,
        nullif(actor ->> 'lead_id', '') as lead_id,
        nullif(actor ->> 'anonymous_id', '') as anonymous_id
    from {{ source('staging', 'raw_events') }}
),

batches as (
    select * from {{ source('staging', 'event_batches') }}
),

first_events as (
    select distinct on (
        raw_events.client_id,
        raw_events.user_id,
        raw_events.lead_id,
        raw_events.anonymous_id,
        batches.batch_seq,
        raw_events.occurred_on
    )
        raw_events.client_id,
        raw_events.event_id,
        batches.batch_seq,

        raw_events.user_id,
        raw_events.lead_id,
        raw_events.anonymous_id,

        raw_events.occurred_at,
        raw_events.occurred_on
    from raw_events
    inner join batches on raw_events.batch_id = batches.batch_id
    order by
        raw_events.client_id,
        raw_events.user_id,
        raw_events.lead_id,
        raw_events.anonymous_id,
        batches.batch_seq,
        raw_events.occurred_on,
        raw_events.occurred_at,
        raw_events.event_id
)

select * from first_events
