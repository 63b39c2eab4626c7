{# The parts of client figures that are sums over days. A lead counts on the day it was created. #}
with

events as (
    select * from {{ ref('int_lead_events') }}
    where {{ is_visible() }} and {{ in_touched_cells(['client_id', 'occurred_on']) }}
),

creations as (
    select * from {{ ref('int_lead_creations') }}
    where {{ in_touched_cells(['client_id', 'created_on']) }}
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
        client_id,
        created_on,
        {% for source in counted_lead_sources() %}
        count(*) filter (where source = '{{ source }}') as leads_from_{{ source }}s,
        {% endfor %}
        count(*) as new_leads
    from creations
    group by client_id, created_on
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
        count(*) filter (
            where seconds_to_answer <= {{ var('quick_answer_seconds') }}
        ) as answered_within_five_min,
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
        {% for source in counted_lead_sources() %}
        coalesce(new_leads.leads_from_{{ source }}s, 0) as leads_from_{{ source }}s,
        {% endfor %}

        {% for count in client_day_counts() %}
        coalesce(counted_events.{{ count }}, 0) as {{ count }},
        {% endfor %}

        {% for amount in client_day_amounts() %}
        {{ to_bigint('coalesce(counted_events.' ~ amount ~ ', 0)') }} as {{ amount }},
        {% endfor %}
        {{ to_bigint('coalesce(costs.api_cost_cents, 0)') }} as api_cost_cents,

        coalesce(answers.answered_messages, 0) as answered_messages,
        coalesce(answers.answered_within_five_min, 0) as answered_within_five_min,
        coalesce(answers.seconds_to_answer_total, 0) as seconds_to_answer_total,

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
        on days.client_id = new_leads.client_id and days.occurred_on = new_leads.created_on
    left join
        answers
        on days.client_id = answers.client_id and days.occurred_on = answers.occurred_on
    left join
        costs
        on days.client_id = costs.client_id and days.occurred_on = costs.occurred_on
)

select * from measured
