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

first_reading as (
    select occurred_at from {{ ref('int_system_metric_events') }}
    where occurred_at < {{ last_as_of() }}
    order by occurred_on, occurred_at
    limit 1
),

-- Each period by itself, so that a query of one period reads the facts of no other. Steps outside
-- would be computed for all periods.
summary as (
    select
        periods.period,
        figures.users,
        figures.events,
        figures.event_types,
        {{ rounded_ratio('figures.events', 'figures.users', 2) }} as events_per_user,
        figures.api_calls,
        figures.error_rate,
        figures.success_rate,
        figures.avg_response_time_ms,
        figures.revenue_usd,
        figures.subscriptions,
        figures.upgrades,
        {{ rounded_ratio('figures.revenue_usd', 'figures.paying_users', 6) }}
            as average_revenue_per_user_usd,
        figures.cpu_usage,
        figures.memory_usage,
        figures.uptime_percent,
        now() as updated_at
    from periods
    inner join lateral ( -- noqa: ST05
        with

        event_types as (
            select
                events.event,
                count(*) as events
            from {{ ref('int_events') }} as events
            where {{ in_span('events', 'periods') }}
            group by events.event
        ),

        event_totals as (
            select
                coalesce(sum(events), 0)::bigint as events,
                coalesce(jsonb_object_agg(event, events), '{}') as event_types
            from event_types
        ),

        user_totals as (
            select count(distinct events.user_id) as users
            from {{ ref('int_events') }} as events
            where {{ in_span('events', 'periods') }}
        ),

        call_totals as (
            select {{ call_outcomes() }}
            from {{ ref('int_api_request_events') }} as calls
            where {{ in_span('calls', 'periods') }}
        ),

        revenue_totals as (
            select
                coalesce(sum(revenues.amount_usd), 0) as revenue_usd,
                count(*) filter (where revenues.type = 'subscription') as subscriptions,
                count(*) filter (where revenues.type = 'upgrade') as upgrades,
                count(distinct revenues.user_id) filter (where revenues.type in {{ payments() }})
                    as paying_users
            from {{ ref('int_revenue_events') }} as revenues
            where {{ in_span('revenues', 'periods') }}
        ),

        readings as (
            select
                readings.metric_type,
                readings.metric_value,
                readings.occurred_at,
                readings.event_id,
                readings.client_id
            from {{ ref('int_system_metric_events') }} as readings
            where {{ in_span('readings', 'periods') }}
        ),

        latest_of_types as (
            select distinct on (metric_type)
                metric_type,
                metric_value
            from readings
            where metric_type in ('cpu_usage', 'memory_usage')
            order by
                metric_type asc,
                occurred_at desc,
                event_id desc,
                client_id collate "C" desc
        ),

        latest_readings as (
            select
                max(metric_value) filter (where metric_type = 'cpu_usage') as cpu_usage,
                max(metric_value) filter (where metric_type = 'memory_usage') as memory_usage
            from latest_of_types
        ),

        -- The windows completely within the period, from the one with the first reading ever.
        windows as (
            select windows.window_start
            from first_reading
            inner join lateral generate_series(
                greatest(
                    {{ window_start_of(
                        'periods.starts_at + ' ~ window_length() ~ " - interval '1 microsecond'"
                    ) }},
                    {{ window_start_of('first_reading.occurred_at') }}
                ),
                periods.ends_at - {{ window_length() }},
                {{ window_length() }}
            ) as windows (window_start) on true
        ),

        windows_with_readings as (
            select distinct {{ window_start_of('occurred_at') }} as window_start
            from readings
        ),

        uptimes as (
            select
                {{ pct2('count(windows_with_readings.window_start)', 'count(*)') }}
                    as uptime_percent
            from windows
            left join windows_with_readings
                on windows.window_start = windows_with_readings.window_start
        )

        select
            user_totals.users,
            event_totals.events,
            event_totals.event_types,
            call_totals.total_calls as api_calls,
            call_totals.error_rate,
            call_totals.success_rate,
            call_totals.avg_response_time_ms,
            revenue_totals.revenue_usd,
            revenue_totals.subscriptions,
            revenue_totals.upgrades,
            revenue_totals.paying_users,
            latest_readings.cpu_usage,
            latest_readings.memory_usage,
            uptimes.uptime_percent
        from event_totals
        cross join user_totals
        cross join call_totals
        cross join revenue_totals
        cross join latest_readings
        cross join uptimes
    ) as figures on true
)

select * from summary
