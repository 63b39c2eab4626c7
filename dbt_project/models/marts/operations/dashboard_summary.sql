with

-- In hours, because a day may have another length in the session's time zone.
periods as (
    select
        listed.period,
        {{ last_as_of() }} - listed.length as starts_at,
        {{ last_as_of() }} as ends_at
    from (
        values
        {% for period in var('period_hours') %}
        ('{{ period }}', {{ length_of_period(period) }}){{ ',' if not loop.last }}
        {% endfor %}
    ) as listed (period, length)
),

events as (
    select
        periods.period,
        events.event,
        events.user_id
    from periods
    inner join {{ ref('int_events') }} as events on {{ in_span('events', 'periods') }}
),

calls as (
    select
        periods.period,
        calls.status_code,
        calls.response_time_ms
    from periods
    inner join {{ ref('int_api_request_events') }} as calls on {{ in_span('calls', 'periods') }}
),

revenues as (
    select
        periods.period,
        revenues.type,
        revenues.amount_usd,
        revenues.user_id
    from periods
    inner join {{ ref('int_revenue_events') }} as revenues on {{ in_span('revenues', 'periods') }}
),

readings as (
    select
        periods.period,
        readings.metric_type,
        readings.metric_value,
        readings.occurred_at,
        row_number() over (
            partition by periods.period, readings.metric_type
            order by
                readings.occurred_at desc,
                readings.event_id desc,
                readings.client_id collate "C" desc
        ) as newness
    from periods
    inner join
        {{ ref('int_system_metric_events') }} as readings
        on {{ in_span('readings', 'periods') }}
),

first_reading as (
    select occurred_at from {{ ref('int_system_metric_events') }}
    where occurred_at < {{ last_as_of() }}
    order by occurred_on, occurred_at
    limit 1
),

event_types as (
    select
        period,
        event,
        count(*) as events
    from events
    group by period, event
),

event_totals as (
    select
        period,
        sum(events)::bigint as events,
        jsonb_object_agg(event, events) as event_types
    from event_types
    group by period
),

user_totals as (
    select
        period,
        count(distinct user_id) as users
    from events
    group by period
),

call_totals as (
    select
        period,
        {{ call_outcomes() }}
    from calls
    group by period
),

revenue_totals as (
    select
        period,
        sum(amount_usd) as revenue_usd,
        count(*) filter (where type = 'subscription') as subscriptions,
        count(*) filter (where type = 'upgrade') as upgrades,
        count(distinct user_id) filter (where type in {{ payments() }}) as paying_users
    from revenues
    group by period
),

latest_readings as (
    select
        period,
        max(metric_value) filter (where metric_type = 'cpu_usage') as cpu_usage,
        max(metric_value) filter (where metric_type = 'memory_usage') as memory_usage
    from readings
    where newness = 1
    group by period
),

-- The windows completely within the period, from the one with the first reading ever.
windows as (
    select
        periods.period,
        windows.window_start
    from periods
    cross join first_reading
    cross join lateral generate_series(
        greatest(
            {{ window_start_of(
                'periods.starts_at + ' ~ window_length() ~ " - interval '1 microsecond'"
            ) }},
            {{ window_start_of('first_reading.occurred_at') }}
        ),
        periods.ends_at - {{ window_length() }},
        {{ window_length() }}
    ) as windows (window_start)
),

windows_with_readings as (
    select distinct
        period,
        {{ window_start_of('occurred_at') }} as window_start
    from readings
),

uptimes as (
    select
        windows.period,
        {{ pct2('count(windows_with_readings.window_start)', 'count(*)') }} as uptime_percent
    from windows
    left join
        windows_with_readings
        on
            windows.period = windows_with_readings.period
            and windows.window_start = windows_with_readings.window_start
    group by windows.period
),

summary as (
    select
        periods.period,
        coalesce(user_totals.users, 0) as users,
        coalesce(event_totals.events, 0) as events,
        coalesce(event_totals.event_types, '{}') as event_types,
        {{ rounded_ratio('event_totals.events', 'user_totals.users', 2) }} as events_per_user,
        coalesce(call_totals.total_calls, 0) as api_calls,
        call_totals.error_rate,
        call_totals.success_rate,
        call_totals.avg_response_time_ms,
        coalesce(revenue_totals.revenue_usd, 0) as revenue_usd,
        coalesce(revenue_totals.subscriptions, 0) as subscriptions,
        coalesce(revenue_totals.upgrades, 0) as upgrades,
        {{ rounded_ratio('revenue_totals.revenue_usd', 'revenue_totals.paying_users', 6) }}
            as average_revenue_per_user_usd,
        latest_readings.cpu_usage,
        latest_readings.memory_usage,
        uptimes.uptime_percent,
        now() as updated_at
    from periods
    left join event_totals on periods.period = event_totals.period
    left join user_totals on periods.period = user_totals.period
    left join call_totals on periods.period = call_totals.period
    left join revenue_totals on periods.period = revenue_totals.period
    left join latest_readings on periods.period = latest_readings.period
    left join uptimes on periods.period = uptimes.period
)

select * from summary
