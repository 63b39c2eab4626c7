select * from {{ ref('stg_credit_events') }}
where {{ in_new_batches() }}
