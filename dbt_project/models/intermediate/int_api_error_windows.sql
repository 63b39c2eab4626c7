{#
    Only the windows with too many errors: few, however many calls. Windows that are not
    complete at as_of are here too; alert_history leaves them out.
#}
with

calls as (
    select
        {{ window_start_of('occurred_at') }} as window_start,
        status_code
    from {{ ref('int_api_request_events') }}
    where {{ is_visible() }} and {{ in_touched('occurred_hour', hour_of('window_start')) }}
),

windows as (
    select
        window_start,
        count(*) as total_calls,
        count(*) filter (where {{ is_error() }}) as error_calls
    from calls
    where {{ in_touched_cells(['window_start']) }}
    group by window_start
),

bad_windows as (
    select
        window_start,
        total_calls,
        error_calls,
        now() as updated_at
    from windows
    where
        total_calls >= {{ var('alert_fewest_calls') }}
        and 100 * error_calls > {{ var('alert_error_percents').medium }} * total_calls
)

select * from bad_windows
