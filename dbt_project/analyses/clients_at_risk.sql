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
    client_id,
    round(cents_two_months_before / 100, 2) as revenue_two_months_before,
    round(cents_month_before / 100, 2) as revenue_month_before,
    round(cents / 100, 2) as revenue,
    round(100 * (cents - cents_two_months_before) / cents_two_months_before, 2) as change_percent,
    leads_two_months_before,
    leads_month_before,
    leads
from months
where cents < cents_month_before and cents_month_before < cents_two_months_before
order by cents_two_months_before - cents desc, client_id asc
