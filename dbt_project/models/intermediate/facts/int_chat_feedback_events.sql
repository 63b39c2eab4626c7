select * from {{ ref('stg_chat_feedback_events') }}
where {{ in_new_batches() }}
