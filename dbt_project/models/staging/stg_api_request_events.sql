with

raw_events as (
    select * from {{ landed_events(['api_request']) }}
),

typed as (
    select
        client_id,
        event_id,
        batch_seq,

        nullif(actor ->> 'user_id', '') as user_id,
        properties ->> 'endpoint' as endpoint,
        properties ->> 'method' as method,
        properties ->> 'error_message' as error_message,

        (properties ->> 'status_code')::numeric::integer as status_code,
        (properties ->> 'response_time_ms')::numeric as response_time_ms,

        occurred_at,
        {{ hour_of('occurred_at') }} as occurred_hour,
        occurred_on
    from raw_events
)

select * from typed
