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

-- One look-up by the index each, however often the document was used.
seen as (
    select
        touched.document_id,
        least(first_chats.occurred_at, first_downloads.occurred_at) as first_seen_at
    from touched
    left join lateral (
        select chats.occurred_at from chats
        where chats.document_id = touched.document_id
        order by chats.occurred_at
        limit 1
    ) as first_chats on true
    left join lateral (
        select downloads.occurred_at from downloads
        where downloads.document_id = touched.document_id
        order by downloads.occurred_at
        limit 1
    ) as first_downloads on true
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
