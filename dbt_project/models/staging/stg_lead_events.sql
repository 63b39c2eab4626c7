with

raw_events as (
    select * from {{ source('staging', 'raw_events') }}
    where event in (
        'lead_created', 'lead_stage_changed', 'message', 'escalation_opened', 'first_response',
        'qualified', 'appointment_booked', 'quote_requested', 'quote_sent', 'quote_accepted',
        'job_won', 'job_lost', 'invoice_sent', 'payment_received', 'review_requested',
        'review_received'
    )
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
        raw_events.actor ->> 'lead_id' as lead_id,
        case
            when raw_events.event = 'message'
                then raw_events.properties ->> 'conversation_id'
        end as conversation_id,

        -- Only where the plan names a property is it of the plan's type.
        case
            when raw_events.event = 'lead_created'
                then raw_events.properties ->> 'source'
        end as source,
        case
            when raw_events.event = 'lead_created'
                then raw_events.properties ->> 'campaign'
        end as campaign,
        case
            when raw_events.event = 'lead_stage_changed'
                then raw_events.properties ->> 'stage'
        end as stage,
        case
            when raw_events.event = 'message'
                then raw_events.properties ->> 'direction'
        end as direction,
        case
            when raw_events.event = 'message'
                then raw_events.properties ->> 'sender_type'
        end as sender_type,
        coalesce(raw_events.properties, '{}') as event_data,

        case
            when raw_events.event in ('quote_sent', 'job_won', 'invoice_sent', 'payment_received')
                then (raw_events.properties ->> 'value_cents')::numeric::bigint
        end as value_cents,
        case
            when raw_events.event = 'review_received'
                then (raw_events.properties ->> 'rating')::numeric::bigint
        end as rating,

        raw_events."timestamp" as occurred_at,
        (raw_events."timestamp" at time zone 'utc')::date as occurred_on
    from raw_events
    inner join batches on raw_events.batch_id = batches.batch_id
)

select * from typed
