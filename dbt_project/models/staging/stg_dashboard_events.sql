with

raw_events as (
    select * from {{ landed_events([
        'analytics.dashboard_view', 'analytics.filter_change', 'analytics.export'
    ]) }}
),

typed as (
    select
        client_id,
        event_id,
        batch_seq,

        event,
        nullif(actor ->> 'user_id', '') as user_id,
        properties ->> 'view' as view,

        occurred_at,
        occurred_on
    from raw_events
)

select * from typed
