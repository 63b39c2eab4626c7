with

raw_events as (
    select * from {{ landed_events(['contact_submitted', 'signup']) }}
),

typed as (
    select
        client_id,
        event_id,
        batch_seq,

        event,
        coalesce(
            nullif(actor ->> 'user_id', ''),
            nullif(actor ->> 'anonymous_id', ''),
            encode(visitor_hash, 'hex')
        ) as visitor_id,
        nullif(context ->> 'session_id', '') as session_id,

        is_bot,

        occurred_at,
        occurred_on
    from raw_events
)

select * from typed
