with

chats as (
    select occurred_on as activity_on from {{ ref('int_chat_events') }}
    where {{ is_visible() }} and {{ in_touched_cells(['occurred_on']) }}
),

pdf_downloads as (
    select occurred_on as activity_on from {{ ref('int_pdf_download_events') }}
    where {{ is_visible() }} and {{ in_touched_cells(['occurred_on']) }}
),

activities as (
    select
        activity_on,
        1 as chats,
        0 as pdf_downloads
    from chats
    union all
    select
        activity_on,
        0 as chats,
        1 as pdf_downloads
    from pdf_downloads
),

days as (
    select
        activity_on,
        sum(chats) as chats,
        sum(pdf_downloads) as pdf_downloads,
        now() as updated_at
    from activities
    group by activity_on
)

select * from days
