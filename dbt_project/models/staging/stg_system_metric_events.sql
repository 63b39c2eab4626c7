with

raw_events as (
    select * from {{ landed_events(['system_metric']) }}
),

typed as (
    select
        client_id,
        event_id,
        batch_seq,

        properties ->> 'server_id' as server_id,
        properties ->> 'metric_type' as metric_type,

        (properties ->> 'metric_value')::numeric as metric_value,

        occurred_at,
        {{ hour_of('occurred_at') }} as occurred_hour,
        occurred_on
    from raw_events
)

select * from typed
