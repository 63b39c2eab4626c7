select * from {{ ref('stg_chat_events') }}
where {{ in_new_batches() }}
