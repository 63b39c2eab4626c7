with

raw_events as (
    select * from {{ landed_events(['chat_feedback']) }}
),

typed as (
    select
        client_id,
        event_id,
        batch_seq,

        properties ->> 'message_id' as message_id,
        properties ->> 'text' as feedback_text,

        (properties ->> 'rating')::numeric::bigint as rating,

        occurred_at,
        occurred_on
    from raw_events
)

select * from typed
