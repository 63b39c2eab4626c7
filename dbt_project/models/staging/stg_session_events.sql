with

raw_events as (
    select * from {{ landed_events(['session']) }}
),

typed as (
    select
        client_id,
        event_id,
        batch_seq,

        nullif(actor ->> 'unit_id', '') as unit_id,
        nullif(actor ->> 'user_id', '') as user_id,
        nullif(actor ->> 'anonymous_id', '') as anonymous_id,

        occurred_at,
        occurred_on
    from raw_events
)

select * from typed
