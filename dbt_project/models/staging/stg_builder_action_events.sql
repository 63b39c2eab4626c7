with

raw_events as (
    select * from {{ landed_events(['builder_action']) }}
),

typed as (
    select
        client_id,
        event_id,
        batch_seq,

        nullif(actor ->> 'user_id', '') as user_id,
        properties ->> 'action' as action,

        occurred_at,
        occurred_on
    from raw_events
)

select * from typed
