-- Which plans are subscribed to, and what share of the MRR is each, today against 30 days ago?
with

plans as (
    select
        *,
        date = ({{ current_as_of('plan_adoption_daily') }} at time zone 'utc')::date as is_today
    from {{ ref('plan_adoption_daily') }}
    where
        date in (
            ({{ current_as_of('plan_adoption_daily') }} at time zone 'utc')::date,
            ({{ current_as_of('plan_adoption_daily') }} at time zone 'utc')::date - 30
        )
),

compared as (
    select
        plan,
        coalesce(sum(active_subscriptions) filter (where is_today), 0) as subscriptions,
        coalesce(sum(active_subscriptions) filter (where not is_today), 0)
            as subscriptions_30_days_ago,
        coalesce(sum(mrr_cents) filter (where is_today), 0) as mrr_cents,
        coalesce(sum(mrr_cents) filter (where not is_today), 0) as mrr_cents_30_days_ago
    from plans
    group by plan
)

select
    plan,
    subscriptions,
    subscriptions_30_days_ago,
    round(mrr_cents / 100, 2) as mrr,
    round(mrr_cents_30_days_ago / 100, 2) as mrr_30_days_ago,
    round(100 * mrr_cents / nullif(sum(mrr_cents) over (), 0), 2) as mrr_percent,
    round(100 * mrr_cents_30_days_ago / nullif(sum(mrr_cents_30_days_ago) over (), 0), 2)
        as mrr_percent_30_days_ago
from compared
order by mrr_cents desc, plan asc
