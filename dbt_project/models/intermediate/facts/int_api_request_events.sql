select * from {{ ref('stg_api_request_events') }}
where {{ in_new_batches() }}
