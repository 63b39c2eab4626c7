with

raw_events as (
    select * from {{ source('staging', 'raw_events') }}
    where event in ('subscription_started', 'subscription_changed', 'subscription_cancelled')
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
        raw_events.properties ->> 'subscription_id' as subscription_id,

        -- A cancellation has none of the plan's type.
        case
            when raw_events.event <> 'subscription_cancelled'
                then raw_events.properties ->> 'plan'
        end as plan,
        case
            when raw_events.event <> 'subscription_cancelled'
                then (raw_events.properties ->> 'mrr_cents')::numeric::bigint
        end as mrr_cents,

        raw_events."timestamp" as occurred_at,
        (raw_events."timestamp" at time zone 'utc')::date as occurred_on
    from raw_events
    inner join batches on raw_events.batch_id = batches.batch_id
)

select * from typed
