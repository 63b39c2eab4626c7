with

readings as (
    select * from {{ ref('int_system_metric_events') }}
    where
        {{ is_visible() }}
        and {{ in_touched_cells(['server_id', 'metric_type', 'occurred_hour']) }}
),

hours as (
    select
        server_id,
        metric_type,
        occurred_hour as hour,
        -- Readings of two clients may have the same instant and id.
        (array_agg(
            metric_value order by occurred_at desc, event_id desc, client_id collate "C" desc
        ))[1] as latest,
        {{ rounded_ratio('sum(metric_value)', 'count(*)', 2) }} as average,
        min(metric_value) as minimum,
        max(metric_value) as maximum,
        count(*) as readings,
        now() as updated_at
    from readings
    group by server_id, metric_type, occurred_hour
)

select * from hours
