-- The first event of each batch, actor and day: which actors exist, and since when.
with

raw_events as (
    select
        client_id,
        event_id,
        batch_seq,

        nullif(actor ->> 'user_id', '') as user_id,
        nullif(actor ->> 'lead_id', '') as lead_id,
        nullif(actor ->> 'anonymous_id', '') as anonymous_id,

        occurred_at,
        occurred_on
    from {{ landed_events() }}
),

first_events as (
    select distinct on (client_id, user_id, lead_id, anonymous_id, batch_seq, occurred_on) *
    from raw_events
    order by
        client_id,
        user_id,
        lead_id,
        anonymous_id,
        batch_seq,
        occurred_on,
        occurred_at,
        event_id
)

select * from first_events
