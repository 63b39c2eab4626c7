{{
    config(
        meta={
            'cells': ['user_id', 'date'],
            'touched_by': {
                'int_chat_events': "select coalesce(user_id, 'none'), occurred_on from new_rows",
                'int_rated_chats': "select coalesce(user_id, 'none'), occurred_on from {{ chats_of('new_rows') }}",
            },
            'window_on': 'date',
        },
    )
}}

-- depends_on: {{ ref('int_chat_events') }}, {{ ref('int_rated_chats') }}
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
