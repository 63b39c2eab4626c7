{{ config(meta={'dagster': {'ref': {'name': 'revenue_daily'}}}) }}

-- The revenue of a day and plan is the sum of its payments less its refunds. The two marts are
-- compared only when both have the same offset: one may be built without the other.
with

events as (
    select
        (created_at at time zone 'utc')::date as date,
        coalesce(plan_type, 'none') as plan_type,
        sum(amount_usd) as revenue_usd,
        count(*) as payments
    from {{ ref('revenue_events') }}
    group by (created_at at time zone 'utc')::date, coalesce(plan_type, 'none')
),

same_offsets as (
    select count(*) as marts
    from {{ source('warehouse', 'model_offsets') }}
    where model in ('revenue_daily', 'revenue_events')
    having min(batch_seq) = max(batch_seq) and min(as_of) = max(as_of)
)

select
    coalesce(days.date, events.date) as date,
    coalesce(days.plan_type, events.plan_type) as plan_type
from {{ ref('revenue_daily') }} as days
full join events on days.date = events.date and days.plan_type = events.plan_type
cross join same_offsets
where
    days.total_revenue_usd is distinct from events.revenue_usd
    or days.subscriptions + days.upgrades + days.purchases + days.refunds
    is distinct from events.payments
