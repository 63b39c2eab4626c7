{# Dense, with the rows of analytics_monthly. #}
with

client_months as (
    select
        client_id,
        month,
        to_date(month, 'YYYY-MM') as month_start,
        (to_date(month, 'YYYY-MM') + interval '1 month')::date as next_month_start,
        revenue_attributed_cents,
        platform_cost_cents,
        new_leads
    from {{ ref('analytics_monthly') }}
    where {{ in_touched_cells(['client_id', 'month']) }}
),

spells as (
    select * from {{ ref('int_subscription_spells') }}
),

cost_days as (
    select * from {{ ref('int_client_costs_daily') }}
),

-- What was live at the month's end, or is live now.
subscribed as (
    select
        client_months.client_id,
        client_months.month,
        sum(spells.mrr_cents) as mrr_cents
    from client_months
    inner join
        spells
        on
            client_months.client_id = spells.client_id
            and client_months.next_month_start > spells.started_on
            and (spells.ended_on is null or client_months.next_month_start <= spells.ended_on)
    group by client_months.client_id, client_months.month
),

costs as (
    select
        client_months.client_id,
        client_months.month,
        sum(cost_days.ai_cost_usd) as ai_cost_usd,
        sum(cost_days.credits_cost_usd) as credits_cost_usd
    from client_months
    inner join
        cost_days
        on
            client_months.client_id = cost_days.client_id
            and client_months.month_start <= cost_days.date
            and client_months.next_month_start > cost_days.date
    group by client_months.client_id, client_months.month
),

amounts as (
    select
        client_months.client_id,
        client_months.month,
        client_months.revenue_attributed_cents,
        {{ to_bigint('coalesce(subscribed.mrr_cents, 0)') }} as mrr_cents,
        coalesce(costs.ai_cost_usd, 0) as ai_cost_usd,
        client_months.platform_cost_cents as api_cost_cents,
        coalesce(costs.credits_cost_usd, 0) as credits_cost_usd,
        client_months.new_leads,
        {{ has_ended('month', 'client_months.month_start') }} as is_complete
    from client_months
    left join
        subscribed
        on
            client_months.client_id = subscribed.client_id
            and client_months.month = subscribed.month
    left join
        costs
        on client_months.client_id = costs.client_id and client_months.month = costs.month
),

months as (
    select
        *,
        {{ to_bigint(
            'mrr_cents - api_cost_cents - round(100 * (ai_cost_usd + credits_cost_usd))'
        ) }} as margin_cents,
        now() as updated_at
    from amounts
)

select * from months
