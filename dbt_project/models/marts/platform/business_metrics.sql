{#
    Dense, over the span of platform_analytics. In the window of a conversion rate each user counts
    with one day: see int_window_users_daily.
#}
with

platform_days as (
    select
        date,
        mrr_cents
    from {{ ref('platform_analytics') }}
    where {{ in_touched_cells(['date']) }}
),

revenues as (
    select
        occurred_on,
        sum(amount_usd) as revenue_usd
    from {{ ref('int_revenue_events') }}
    where {{ is_visible() }} and {{ in_touched_cells(['occurred_on']) }}
    group by occurred_on
),

window_days as (
    select distinct platform_days.date + 1 - earlier.days as date
    from platform_days
    cross join generate_series(1, {{ var('conversion_days') }}) as earlier (days)
),

spells as (
    select * from {{ ref('int_window_users_daily') }}
    where date in (select window_days.date from window_days)
),

moves as (
    select
        date,
        users as seen_users,
        0 as users,
        0 as converted_users
    from spells
    union all
    select
        counts_from as date,
        0 as seen_users,
        users,
        converted_users
    from spells
    union all
    select
        date + {{ var('conversion_days') }} as date,
        0 as seen_users,
        -users as users,
        -converted_users as converted_users
    from spells
    union all
    select
        date,
        0 as seen_users,
        0 as users,
        0 as converted_users
    from platform_days
),

user_counts as (
    select
        date,
        sum(seen_users) as daily_users,
        sum(sum(users)) over (order by date) as window_users,
        sum(sum(converted_users)) over (order by date) as window_converted_users
    from moves
    group by date
),

metrics as (
    select
        platform_days.date,
        coalesce(revenues.revenue_usd, 0) as daily_revenue,
        user_counts.daily_users as daily_active_users,
        {{ pct2('user_counts.window_converted_users', 'user_counts.window_users') }}
            as conversion_rate,
        platform_days.mrr_cents * 0.01 as mrr
    from platform_days
    inner join user_counts on platform_days.date = user_counts.date
    left join revenues on platform_days.date = revenues.occurred_on
),

days as (
    select
        measured.metric_name,
        metrics.date as period_start,
        metrics.date + 1 as period_end,
        measured.metric_value,
        measured.metric_unit,
        now() as updated_at
    from metrics
    cross join lateral (
        values
        ('daily_revenue', metrics.daily_revenue, 'USD'),
        ('daily_active_users', metrics.daily_active_users, 'users'),
        ('conversion_rate', metrics.conversion_rate, 'percent'),
        ('mrr', metrics.mrr, 'USD')
    ) as measured (metric_name, metric_value, metric_unit)
)

select * from days
