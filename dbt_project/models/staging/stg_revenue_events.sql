with

raw_events as (
    select * from {{ landed_events(['revenue']) }}
),

typed as (
    select
        client_id,
        event_id,
        batch_seq,

        nullif(actor ->> 'user_id', '') as user_id,
        properties ->> 'type' as type,
        properties ->> 'plan_type' as plan_type,
        properties ->> 'payment_provider' as payment_provider,
        properties ->> 'payment_id' as payment_id,

        (properties ->> 'amount_usd')::numeric
        * case when properties ->> 'type' = 'refund' then -1 else 1 end as amount_usd,

        occurred_at,
        occurred_on
    from raw_events
)

select * from typed
