{#
    A view, because the passing of time alone resolves an alert or completes a window, and because
    what people do by hand is visible at once. Its inputs are small: bad windows and users' months.
#}
with

-- An alert is a run of consecutive windows: all of them have the same start less row number.
complete_windows as (
    select
        *,
        window_start - row_number() over (order by window_start) * {{ window_length() }} as run
    from {{ ref('int_api_error_windows') }}
    where window_start + {{ window_length() }} <= {{ current_as_of('int_api_error_windows') }}
),

error_windows as (
    select
        *,
        min(window_start) over same_run as alert_start
    from complete_windows
    window same_run as (partition by run)
),

error_alerts as (
    select
        {{ error_alert_id('alert_start') }} as alert_id,
        array_agg({{ error_alert_id('window_start') }}) as known_as,
        alert_start as created_at,
        max(window_start) + {{ window_length() }} as ended_at,
        sum(total_calls) as total_calls,
        sum(error_calls) as error_calls,
        max({{ error_severity('error_calls', 'total_calls') }}) as severity_rank,
        max(updated_at) as updated_at
    from error_windows
    group by alert_start
),

months as (
    select * from {{ ref('user_monthly_usage') }}
),

usage_alerts as (
    select
        {{ usage_alert_id('months.user_id', 'months.year_month', 'thresholds.percent') }}
            as alert_id,
        months.user_id,
        months.year_month,
        months.updated_at,
        thresholds.percent,
        thresholds.reached_at as created_at,
        (make_date(months.year, months.month, 1) + interval '1 month') at time zone 'utc'
            as ended_at
    from months
    cross join
        lateral (
            values
            ({{ (100 * var('approaching_share')) | int }}, months.limit_approached_at),
            (100, months.limit_reached_at)
        ) as thresholds (percent, reached_at)
    where thresholds.reached_at is not null
),

found as (
    select
        alert_id,
        known_as,
        'warning' as alert_type,
        (array['medium', 'high', 'critical'])[severity_rank] as severity,
        'API errors' as title,
        error_calls || ' of ' || total_calls || ' API calls failed from '
        || to_char(created_at at time zone 'utc', 'YYYY-MM-DD HH24:MI') || ' to '
        || to_char(ended_at at time zone 'utc', 'YYYY-MM-DD HH24:MI') || ' UTC.' as message,
        'performance' as category,
        case
            when ended_at + {{ window_length() }} <= {{ current_as_of('int_api_error_windows') }}
                then ended_at
        end as resolved_at,
        created_at,
        updated_at
    from error_alerts
    union all
    select
        alert_id,
        array[alert_id] as known_as,
        case percent when 100 then 'error' else 'warning' end as alert_type,
        case percent when 100 then 'high' else 'medium' end as severity,
        percent || ' % of a monthly limit used' as title,
        'User ' || user_id || ' came to ' || percent || ' % of a limit of ' || year_month || '.'
            as message,
        'usage' as category,
        case when ended_at <= {{ current_as_of('user_monthly_usage') }} then ended_at end
            as resolved_at,
        created_at,
        updated_at
    from usage_alerts
),

-- What people did by hand, for an alert under any of its ids so far.
by_hand as (
    select distinct on (found.alert_id, actions.action)
        found.alert_id,
        actions.action,
        actions.taken_by,
        actions.taken_at
    from found
    inner join {{ source('warehouse', 'alert_actions') }} as actions
        on actions.alert_id = any(found.known_as)
    order by found.alert_id asc, actions.action asc, actions.taken_at asc
),

alerts as (
    select
        found.alert_id,
        found.alert_type,
        found.severity,
        found.title,
        found.message,
        found.category,
        coalesce(found.resolved_at, resolutions.taken_at) is not null as resolved,
        acknowledgements.taken_by as acknowledged_by,
        acknowledgements.taken_at as acknowledged_at,
        resolutions.taken_by as resolved_by,
        least(found.resolved_at, resolutions.taken_at) as resolved_at,
        found.created_at,
        greatest(found.updated_at, acknowledgements.taken_at, resolutions.taken_at) as updated_at
    from found
    left join by_hand as acknowledgements
        on found.alert_id = acknowledgements.alert_id and acknowledgements.action = 'acknowledged'
    left join by_hand as resolutions
        on found.alert_id = resolutions.alert_id and resolutions.action = 'resolved'
)

select * from alerts
