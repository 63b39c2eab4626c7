select * from {{ ref('stg_events') }}
where {{ in_new_batches() }}
