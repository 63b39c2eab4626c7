{# Dense: a row for every client and month that the span touches. #}
with

client_months as (
    select
        client_id,
        month,
        to_date(month, 'YYYY-MM') as month_start
    from {{ touched_client_periods('month', 'month', "to_date(month, 'YYYY-MM')") }}
),

activity as (
    select * from {{ ref('int_client_activity_daily') }}
    where client_id in (select client_months.client_id from client_months)
),

qualifications as (
    select * from {{ ref('int_lead_events') }}
    where
        event = 'qualified'
        and {{ is_visible() }}
        and {{ in_touched_periods('occurred_on', "to_date(month, 'YYYY-MM')") }}
),

-- Every month of these clients with activity, because outstanding amounts sum up all months before.
sums as (
    select
        client_id,
        {{ start_of('month', 'date') }} as month_start,
        sum(new_leads) as new_leads,
        sum(appointments_booked) as appointments_booked,
        sum(quotes_sent) as quotes_sent,
        sum(jobs_won) as jobs_won,
        sum(jobs_lost) as jobs_lost,
        sum(revenue_attributed_cents) as revenue_attributed_cents,
        sum(invoices_sent_cents) as invoices_sent_cents,
        sum(payments_collected_cents) as payments_collected_cents,
        sum(inbound_messages + outbound_messages) as total_messages,
        sum(outbound_messages) as outbound_messages,
        sum(ai_responses) as ai_responses,
        sum(escalations) as escalations,
        sum(reviews_received) as reviews_received,
        sum(five_star_reviews) as five_star_reviews,
        sum(ratings_total) as ratings_total,
        sum(api_cost_cents) as api_cost_cents
    from activity
    group by client_id, {{ start_of('month', 'date') }}
),

balances as (
    select
        client_months.client_id,
        client_months.month_start,
        sum(sums.invoices_sent_cents - sums.payments_collected_cents) as outstanding_cents
    from client_months
    inner join
        sums
        on
            client_months.client_id = sums.client_id
            and client_months.month_start >= sums.month_start
    group by client_months.client_id, client_months.month_start
),

qualified as (
    select
        client_months.client_id,
        client_months.month_start,
        count(distinct qualifications.lead_id) as qualified_leads
    from client_months
    inner join
        qualifications
        on
            client_months.client_id = qualifications.client_id
            and client_months.month_start <= qualifications.occurred_on
            and client_months.month_start + interval '1 month' > qualifications.occurred_on
    group by client_months.client_id, client_months.month_start
),

months as (
    select
        client_months.client_id,
        client_months.month,

        coalesce(sums.new_leads, 0)::bigint as new_leads,
        coalesce(qualified.qualified_leads, 0) as qualified_leads,
        coalesce(sums.appointments_booked, 0)::bigint as appointments_booked,
        coalesce(sums.quotes_sent, 0)::bigint as quotes_generated,
        coalesce(sums.jobs_won, 0)::bigint as jobs_won,
        coalesce(sums.jobs_lost, 0)::bigint as jobs_lost,

        {{ to_bigint('coalesce(sums.revenue_attributed_cents, 0)') }} as revenue_attributed_cents,
        {{ whole_mean('sums.revenue_attributed_cents', 'sums.jobs_won') }} as avg_job_value_cents,
        {{ to_bigint('coalesce(sums.payments_collected_cents, 0)') }} as payments_collected_cents,
        {{ to_bigint('greatest(balances.outstanding_cents, 0)') }} as outstanding_invoices_cents,

        coalesce(sums.total_messages, 0)::bigint as total_messages,
        {{ pct('sums.ai_responses', 'sums.outbound_messages') }} as ai_handled_percent,
        {{ pct('sums.escalations', 'sums.total_messages') }} as escalation_rate,

        coalesce(sums.reviews_received, 0)::bigint as reviews_received,
        round(sums.ratings_total / nullif(sums.reviews_received, 0), 2) as avg_rating,
        coalesce(sums.five_star_reviews, 0)::bigint as five_star_reviews,

        {{ bp('sums.jobs_won', 'sums.new_leads') }} as lead_to_job_rate,
        {{ to_bigint('coalesce(sums.api_cost_cents, 0)') }} as platform_cost_cents,
        round(
            sums.revenue_attributed_cents / nullif(sums.api_cost_cents, 0), 2
        ) as roi_multiple,

        {{ change(
            'coalesce(sums.revenue_attributed_cents, 0)',
            'previous.revenue_attributed_cents',
            has_ended('month', 'client_months.month_start')
        ) }} as previous_month_revenue_change_pct,
        {{ change(
            'coalesce(sums.new_leads, 0)',
            'previous.new_leads',
            has_ended('month', 'client_months.month_start')
        ) }} as previous_month_leads_change_pct,

        {{ has_ended('month', 'client_months.month_start') }} as is_complete,
        now() as updated_at
    from client_months
    left join
        sums
        on client_months.client_id = sums.client_id and client_months.month_start = sums.month_start
    left join
        sums as previous
        on
            client_months.client_id = previous.client_id
            and client_months.month_start - interval '1 month' = previous.month_start
    left join
        balances
        on
            client_months.client_id = balances.client_id
            and client_months.month_start = balances.month_start
    left join
        qualified
        on
            client_months.client_id = qualified.client_id
            and client_months.month_start = qualified.month_start
)

select * from months
