-- Which clients' revenue has fallen two months in a row?
-- Months of 30 full days, the last one ending yesterday: as long as each other, and up to date.
with

days as (
    select
        *,
        (({{ current_as_of('analytics_daily') }} at time zone 'utc')::date - 1 - date) / 30
            as months_ago
    from {{ ref('analytics_daily') }}
    where
        date >= ({{ current_as_of('analytics_daily') }} at time zone 'utc')::date - 90
        and date < ({{ current_as_of('analytics_daily') }} at time zone 'utc')::date
        -- Clients that have left are past being at risk.
        and client_id in (
            select client_id from {{ ref('analytics_daily') }}
            where date = ({{ current_as_of('analytics_daily') }} at time zone 'utc')::date
        )
),

months as (
    select
        client_id,
        sum(revenue_attributed_cents) filter (where months_ago = 2) as cents_two_months_before,
        sum(revenue_attributed_cents) filter (where months_ago = 1) as cents_month_before,
        sum(revenue_attributed_cents) filter (where months_ago = 0) as cents,
        sum(new_leads) filter (where months_ago = 2) as leads_two_months_before,
        sum(new_leads) filter (where months_ago = 1) as leads_month_before,
        sum(new_leads) filter (where months_ago = 0) as leads
    from days
    group by client_id
)

select
    months.client_id,
    clients.name,
    clients.plan,
    round(months.cents_two_months_before / 100, 2) as revenue_two_months_before,
    round(months.cents_month_before / 100, 2) as revenue_month_before,
    round(months.cents / 100, 2) as revenue,
    round(
        100 * (months.cents - months.cents_two_months_before) / months.cents_two_months_before, 2
    ) as change_percent,
    months.leads_two_months_before,
    months.leads_month_before,
    months.leads
from months
inner join {{ ref('clients') }} as clients on months.client_id = clients.client_id
where
    months.cents < months.cents_month_before
    and months.cents_month_before < months.cents_two_months_before
order by months.cents_two_months_before - months.cents desc, months.client_id asc
