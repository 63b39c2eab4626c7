select * from {{ ref('stg_lead_events') }}
where {{ in_new_batches() }}
