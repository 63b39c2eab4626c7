with

chats as (
    select * from {{ ref('chat_events') }}
    where
        user_id is not null
        and created_at >= {{ current_as_of('chat_events') }} - {{ length_of_period('7d') }}
        and created_at < {{ current_as_of('chat_events') }}
),

-- Readers of this view need access to what it reads: no more of a document than it shows.
documents as (
    select
        document_id,
        city,
        "zone"
    from {{ ref('stg_documents') }}
)

select
    chats.user_id,
    chats.created_at,
    chats.conversation_id,
    chats.document_id,
    chats.tokens_total,
    chats.cost_total,
    chats.response_time_ms,
    chats.cache_hit,
    chats.error_occurred,
    documents.city,
    documents."zone",
    chats.updated_at
from chats
left join documents on chats.document_id = documents.document_id
