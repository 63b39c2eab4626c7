with

feedback as (
    select
        *,
        row_number() over (
            partition by client_id, message_id order by occurred_at desc, event_id desc
        ) as newest_first
    from {{ ref('int_chat_feedback_events') }}
    where {{ is_visible() }} and {{ in_touched_cells(['client_id', 'message_id']) }}
),

latest_feedback as (
    select * from feedback
    where newest_first = 1
),

chats as (
    select
        client_id,
        message_id,
        event_id,
        occurred_at,
        row_number() over (
            partition by client_id, message_id order by occurred_at, event_id
        ) as oldest_first
    from {{ ref('int_chat_events') }}
    where {{ is_visible() }} and {{ in_touched_cells(['client_id', 'message_id']) }}
),

first_chats as (
    select * from chats
    where oldest_first = 1
),

rated as (
    select
        first_chats.client_id,
        first_chats.message_id,
        first_chats.event_id,
        first_chats.occurred_at,
        latest_feedback.rating,
        latest_feedback.feedback_text,
        latest_feedback.occurred_at as feedback_at,
        {{ built_batch_seq() }} as built_batch_seq,
        {{ as_of() }} as built_as_of,
        now() as updated_at
    from first_chats
    inner join
        latest_feedback
        on
            first_chats.client_id = latest_feedback.client_id
            and first_chats.message_id = latest_feedback.message_id
)

select * from rated
