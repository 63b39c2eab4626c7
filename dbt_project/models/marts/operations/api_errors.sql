with

calls as (
    select * from {{ ref('int_api_request_events') }}
    where
        {{ is_error() }}
        and {{ is_visible() }}
        and {{ in_touched_cells(['client_id', 'event_id', 'occurred_at']) }}
),

errors as (
    select
        client_id,
        event_id,
        occurred_at as created_at,
        endpoint,
        method,
        status_code,
        error_message,
        response_time_ms,
        user_id,
        now() as updated_at
    from calls
)

select * from errors
