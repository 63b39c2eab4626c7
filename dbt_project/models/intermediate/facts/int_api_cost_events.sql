select * from {{ ref('stg_api_cost_events') }}
where {{ in_new_batches() }}
