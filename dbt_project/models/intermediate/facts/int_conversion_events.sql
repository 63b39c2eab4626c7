select * from {{ ref('stg_conversion_events') }}
where {{ in_new_batches() }}
