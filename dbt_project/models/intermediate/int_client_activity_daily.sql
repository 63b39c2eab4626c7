{# The parts of client figures that are sums over days. A lead counts on the day it was created. #}
with

events as (
    select * from {{ ref('int_lead_events') }}
    where {{ is_visible() }} and {{ in_touched_cells(['client_id', 'occurred_on']) }}
),

all_creations as (
    select * from {{ ref('int_lead_events') }}
    where event = 'lead_created' and {{ is_visible() }}
),

inbound_messages as (
    select * from {{ ref('int_inbound_messages') }}
    where {{ in_touched_cells(['client_id', 'occurred_on']) }}
),

api_costs as (
    select * from {{ ref('int_api_cost_events') }}
    where {{ is_visible() }} and {{ in_touched_cells(['client_id', 'occurred_on']) }}
),

new_leads as (
    select
        events.client_id,
        events.occurred_on,
        count(*) as new_leads,
        count(*) filter (where events.source = 'missed_call') as leads_from_missed_calls,
        count(*) filter (where events.source = 'web_form') as leads_from_web_forms,
        count(*) filter (where events.source = 'referral') as leads_from_referrals
    from events
    where
        events.event = 'lead_created'
        and not exists (
            select from all_creations
            where
                all_creations.client_id = events.client_id
                and all_creations.lead_id = events.lead_id
                and all_creations.occurred_at <= events.occurred_at
                and (all_creations.occurred_at, all_creations.event_id)
                < (events.occurred_at, events.event_id)
        )
    group by events.client_id, events.occurred_on
),

counted_events as (
    select
        client_id,
        occurred_on,
        count(distinct coalesce(conversation_id, lead_id)) filter (
            where event = 'message'
        ) as total_conversations,
        count(*) filter (
            where direction = 'outbound' and sender_type = 'ai'
        ) as ai_responses,
        count(*) filter (
            where direction = 'outbound' and sender_type = 'human'
        ) as human_responses,
        count(*) filter (where direction = 'inbound') as inbound_messages,
        count(*) filter (where direction = 'outbound') as outbound_messages,
        count(*) filter (where event = 'escalation_opened') as escalations,
        count(*) filter (where event = 'appointment_booked') as appointments_booked,
        count(*) filter (where event = 'quote_requested') as quotes_requested,
        count(*) filter (where event = 'quote_sent') as quotes_sent,
        count(*) filter (where event = 'job_won') as jobs_won,
        count(*) filter (where event = 'job_lost') as jobs_lost,
        count(*) filter (where event = 'review_requested') as review_requests_sent,
        count(*) filter (where event = 'review_received') as reviews_received,
        count(*) filter (where rating = 5) as five_star_reviews,
        sum(rating) as ratings_total,
        sum(value_cents) filter (where event = 'job_won') as revenue_attributed_cents,
        sum(value_cents) filter (where event = 'invoice_sent') as invoices_sent_cents,
        sum(value_cents) filter (where event = 'payment_received') as payments_collected_cents
    from events
    group by client_id, occurred_on
),

answers as (
    select
        client_id,
        occurred_on,
        count(seconds_to_answer) as answered_messages,
        count(*) filter (where seconds_to_answer <= 300) as answered_within_five_min,
        sum(seconds_to_answer) as seconds_to_answer_total
    from inbound_messages
    group by client_id, occurred_on
),

costs as (
    select
        client_id,
        occurred_on,
        sum(cost_cents) as api_cost_cents
    from api_costs
    group by client_id, occurred_on
),

days as (
    select
        client_id,
        occurred_on
    from counted_events
    union
    select
        client_id,
        occurred_on
    from costs
),

measured as (
    select
        days.client_id,
        days.occurred_on as date,

        coalesce(new_leads.new_leads, 0) as new_leads,
        coalesce(new_leads.leads_from_missed_calls, 0) as leads_from_missed_calls,
        coalesce(new_leads.leads_from_web_forms, 0) as leads_from_web_forms,
        coalesce(new_leads.leads_from_referrals, 0) as leads_from_referrals,

        coalesce(counted_events.total_conversations, 0) as total_conversations,
        coalesce(counted_events.ai_responses, 0) as ai_responses,
        coalesce(counted_events.human_responses, 0) as human_responses,
        coalesce(counted_events.inbound_messages, 0) as inbound_messages,
        coalesce(counted_events.outbound_messages, 0) as outbound_messages,
        coalesce(counted_events.escalations, 0) as escalations,

        coalesce(answers.answered_messages, 0) as answered_messages,
        coalesce(answers.answered_within_five_min, 0) as answered_within_five_min,
        coalesce(answers.seconds_to_answer_total, 0) as seconds_to_answer_total,

        coalesce(counted_events.appointments_booked, 0) as appointments_booked,
        coalesce(counted_events.quotes_requested, 0) as quotes_requested,
        coalesce(counted_events.quotes_sent, 0) as quotes_sent,
        coalesce(counted_events.jobs_won, 0) as jobs_won,
        coalesce(counted_events.jobs_lost, 0) as jobs_lost,

        {{ to_bigint('coalesce(counted_events.revenue_attributed_cents, 0)') }}
            as revenue_attributed_cents,
        {{ to_bigint('coalesce(counted_events.invoices_sent_cents, 0)') }} as invoices_sent_cents,
        {{ to_bigint('coalesce(counted_events.payments_collected_cents, 0)') }}
            as payments_collected_cents,
        {{ to_bigint('coalesce(costs.api_cost_cents, 0)') }} as api_cost_cents,

        coalesce(counted_events.review_requests_sent, 0) as review_requests_sent,
        coalesce(counted_events.reviews_received, 0) as reviews_received,
        coalesce(counted_events.five_star_reviews, 0) as five_star_reviews,
        coalesce(counted_events.ratings_total, 0)::bigint as ratings_total,

        {{ built_batch_seq() }} as built_batch_seq,
        {{ as_of() }} as built_as_of,
        now() as updated_at
    from days
    left join
        counted_events
        on
            days.client_id = counted_events.client_id
            and days.occurred_on = counted_events.occurred_on
    left join
        new_leads
        on days.client_id = new_leads.client_id and days.occurred_on = new_leads.occurred_on
    left join
        answers
        on days.client_id = answers.client_id and days.occurred_on = answers.occurred_on
    left join
        costs
        on days.client_id = costs.client_id and days.occurred_on = costs.occurred_on
)

select * from measured
