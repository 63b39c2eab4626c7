{{
    config(
        meta={
            'cells': ['client_id', 'event_id', 'created_at'],
            'touched_by': {
                'int_api_request_events': "
                    select client_id, event_id, occurred_at from new_rows
                    where {{ is_error('status_code') }}
                ",
            },
            'window_on': "(created_at at time zone 'utc')::date",
        },
        indexes=[{'columns': ['created_at']}],
    )
}}

with

calls as (
    select * from {{ ref('int_api_request_events') }}
    where
        {{ is_error('status_code') }}
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
