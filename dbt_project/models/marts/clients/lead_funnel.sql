with

events as (
    select * from {{ ref('int_lead_events') }}
    where
        {{ is_client() }}
        and {{ is_visible() }}
        and {{ in_touched_cells(['client_id', 'lead_id']) }}
        and ({{ is_funnel_event() }} or event = 'lead_stage_changed')
),

creations as (
    select * from {{ ref('int_lead_creations') }}
    where {{ in_touched_cells(['client_id', 'lead_id']) }}
),

leads as (
    select
        client_id,
        lead_id,
        min(occurred_at) filter (where event = 'lead_created') as lead_created_at,
        min(occurred_at) filter (where event = 'first_response') as first_response_at,
        min(occurred_at) filter (where event = 'qualified') as qualified_at,
        min(occurred_at) filter (where event = 'appointment_booked') as appointment_booked_at,
        min(occurred_at) filter (where event = 'quote_requested') as quote_requested_at,
        min(occurred_at) filter (where event = 'quote_sent') as quote_sent_at,
        min(occurred_at) filter (where event = 'quote_accepted') as quote_accepted_at,
        min(occurred_at) filter (where event = 'job_won') as job_won_at,
        min(occurred_at) filter (where event = 'job_lost') as job_lost_at,
        (array_agg(stage order by occurred_at desc, event_id desc) filter (
            where event = 'lead_stage_changed'
        ))[1] as latest_stage,
        {{ to_bigint("coalesce(sum(value_cents) filter (where event = 'job_won'), 0)") }}
            as won_value_cents,
        {{ to_bigint("coalesce(sum(value_cents) filter (where event = 'payment_received'), 0)") }}
            as collected_cents
    from events
    group by client_id, lead_id
),

staged as (
    select
        leads.*,
        creations.source,
        creations.campaign,
        case
            when leads.latest_stage is not null then leads.latest_stage
            when leads.lead_created_at is not null then 'new'
        end as current_stage
    from leads
    left join
        creations
        on leads.client_id = creations.client_id and leads.lead_id = creations.lead_id
),

funnels as (
    select
        client_id,
        lead_id,
        lead_created_at,
        first_response_at,
        qualified_at,
        appointment_booked_at,
        quote_requested_at,
        quote_sent_at,
        quote_accepted_at,
        job_won_at,
        job_lost_at,
        source,
        campaign,
        won_value_cents,
        collected_cents,
        current_stage,
        case
            when lead_created_at is null then null
            when {{ reached_in_order('job_won') }} then 'job_won'
            when {{ reached_in_order('quote_sent') }} then 'quote_sent'
            when {{ reached_in_order('appointment_booked') }} then 'appointment_booked'
            when {{ reached_in_order('qualified') }} then 'qualified'
            when {{ reached_in_order('first_response') }} then 'first_response'
            else 'lead_created'
        end as furthest_step,
        ({{ day_of('job_won_at') }} - {{ day_of('lead_created_at') }})::bigint as days_to_win,
        now() as updated_at
    from staged
)

select * from funnels
