with

chats as (
    select * from {{ ref('chat_events') }}
    where
        created_at < {{ as_of() }}
        and {{ in_touched_cells(["coalesce(user_id, 'none')", 'created_on']) }}
),

days as (
    select
        coalesce(user_id, 'none') as user_id,
        created_on as date,
        {{ chat_measures() }},
        now() as updated_at
    from chats
    group by coalesce(user_id, 'none'), created_on
)

select * from days
