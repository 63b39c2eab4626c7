with

raw_events as (
    select * from {{ source('staging', 'raw_events') }}
    where event in ('contact_submitted', 'signup')
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
        coalesce(
            nullif(raw_events.actor ->> 'user_id', ''),
            nullif(raw_events.actor ->> 'anonymous_id', ''),
            encode(raw_events.visitor_hash, 'hex')
        ) as visitor_id,
        nullif(raw_events.context ->> 'session_id', '') as session_id,

        raw_events.is_bot,

        raw_events."timestamp" as occurred_at,
        (raw_events."timestamp" at time zone 'utc')::date as occurred_on
    from raw_events
    inner join batches on raw_events.batch_id = batches.batch_id
)

select * from typed
