select * from {{ ref('stg_subscription_events') }}
where {{ in_new_batches() }}
