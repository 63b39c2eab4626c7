with

touched as (
    select document_id from {{ touched_table() }}
),

chats as (
    select * from {{ ref('int_chat_events') }}
    where {{ is_visible() }}
),

downloads as (
    select * from {{ ref('int_pdf_download_events') }}
    where {{ is_visible() }}
),

seen as (
    select
        touched.document_id,
        least(first_chats.occurred_at, first_downloads.occurred_at) as first_seen_at
    from touched
    {{ left_join_bound('first_chats', 'chats', 'document_id', 'occurred_at') }}
    {{ left_join_bound('first_downloads', 'downloads', 'document_id', 'occurred_at') }}
),

documents as (
    select
        document_id,
        first_seen_at,
        now() as updated_at
    from seen
    where first_seen_at is not null
)

select * from documents
