select * from {{ ref('stg_revenue_events') }}
where {{ in_new_batches() }}
