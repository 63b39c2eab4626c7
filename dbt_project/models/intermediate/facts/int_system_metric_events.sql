select * from {{ ref('stg_system_metric_events') }}
where {{ in_new_batches() }}
