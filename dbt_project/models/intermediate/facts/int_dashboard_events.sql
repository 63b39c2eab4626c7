select * from {{ ref('stg_dashboard_events') }}
where {{ in_new_batches() }}
