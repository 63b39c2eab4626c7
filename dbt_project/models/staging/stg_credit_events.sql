with

raw_events as (
    select * from {{ landed_events(['credit_used']) }}
),

typed as (
    select
        client_id,
        event_id,
        batch_seq,

        nullif(actor ->> 'user_id', '') as user_id,
        properties ->> 'feature_name' as feature_name,

        (properties ->> 'credits_used')::numeric as credits_used,
        (properties ->> 'cost_usd')::numeric as cost_usd,

        occurred_at,
        occurred_on
    from raw_events
)

select * from typed
