with

raw_events as (
    select * from {{ landed_events([
        'lead_created', 'lead_stage_changed', 'message', 'escalation_opened', 'first_response',
        'qualified', 'appointment_booked', 'quote_requested', 'quote_sent', 'quote_accepted',
        'job_won', 'job_lost', 'invoice_sent', 'payment_received', 'review_requested',
        'review_received'
    ]) }}
),

typed as (
    select
        client_id,
        event_id,
        batch_seq,

        event,
        actor ->> 'lead_id' as lead_id,
        case
            when event = 'message'
                then properties ->> 'conversation_id'
        end as conversation_id,

        -- A property has the plan's type only for events for which the plan names it.
        case
            when event = 'lead_created'
                then properties ->> 'source'
        end as source,
        case
            when event = 'lead_created'
                then properties ->> 'campaign'
        end as campaign,
        case
            when event = 'lead_stage_changed'
                then properties ->> 'stage'
        end as stage,
        case
            when event = 'message'
                then properties ->> 'direction'
        end as direction,
        case
            when event = 'message'
                then properties ->> 'sender_type'
        end as sender_type,
        coalesce(properties, '{}') as event_data,

        case
            when event in ('quote_sent', 'job_won', 'invoice_sent', 'payment_received')
                then (properties ->> 'value_cents')::numeric::bigint
        end as value_cents,
        case
            when event = 'review_received'
                then (properties ->> 'rating')::numeric::bigint
        end as rating,

        occurred_at,
        occurred_on
    from raw_events
)

select * from typed
