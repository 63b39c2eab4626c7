-- Every event of any kind: who did it, in which session, and when.
with

raw_events as (
    select * from {{ landed_events() }}
),

typed as (
    select
        client_id,
        event_id,
        batch_seq,

        event,
        nullif(actor ->> 'user_id', '') as user_id,
        nullif(context ->> 'session_id', '') as session_id,

        occurred_at,
        occurred_on
    from raw_events
)

select * from typed
