select * from {{ ref('stg_session_events') }}
where {{ in_new_batches() }}
