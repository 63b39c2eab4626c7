with

raw_events as (
    select * from {{ landed_events([
        'subscription_started', 'subscription_changed', 'subscription_cancelled'
    ]) }}
),

typed as (
    select
        client_id,
        event_id,
        batch_seq,

        event,
        properties ->> 'subscription_id' as subscription_id,

        -- For a cancellation the plan names no such property.
        case
            when event <> 'subscription_cancelled'
                then properties ->> 'plan'
        end as plan,
        case
            when event <> 'subscription_cancelled'
                then (properties ->> 'mrr_cents')::numeric::bigint
        end as mrr_cents,

        occurred_at,
        occurred_on
    from raw_events
)

select * from typed
