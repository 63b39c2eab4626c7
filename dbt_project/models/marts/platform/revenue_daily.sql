with

events as (
    select
        *,
        coalesce(plan_type, 'none') as plan
    from {{ ref('int_revenue_events') }}
    where
        {{ is_visible() }}
        and {{ in_touched('occurred_on', 'date') }}
        and {{ in_touched_cells(['occurred_on', "coalesce(plan_type, 'none')"]) }}
),

sums as (
    select
        occurred_on,
        plan,
        sum(amount_usd) as total_revenue_usd,
        count(*) filter (where type = 'subscription') as subscriptions,
        count(*) filter (where type = 'upgrade') as upgrades,
        count(*) filter (where type = 'purchase') as purchases,
        count(*) filter (where type = 'refund') as refunds,
        count(distinct user_id) filter (where type in {{ payments() }}) as paying_users
    from events
    group by occurred_on, plan
),

days as (
    select
        occurred_on as date,
        plan as plan_type,
        total_revenue_usd,
        subscriptions,
        upgrades,
        purchases,
        refunds,
        paying_users,
        {{ rounded_ratio('total_revenue_usd', 'paying_users', 6) }} as average_revenue_per_user_usd,
        now() as updated_at
    from sums
)

select * from days
