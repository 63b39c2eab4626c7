with

chats as (
    select * from {{ ref('int_chat_events') }}
    where {{ is_visible() }} and {{ in_touched_cells(['client_id', 'event_id', 'occurred_at']) }}
),

ratings as (
    select * from {{ ref('int_rated_chats') }}
),

rated_chats as (
    select
        chats.client_id,
        chats.event_id,
        chats.occurred_at as created_at,
        chats.occurred_on as created_on,

        chats.user_id,
        chats.conversation_id,
        chats.message_id,
        chats.document_id,

        chats.model_name,
        chats.model_version,
        chats.model_provider,
        chats.error_code,
        chats.error_message,
        chats.query_intent,
        chats.sections_referenced,
        chats.metadata,

        coalesce(chats.cache_hit, false) as cache_hit,
        coalesce(chats.error_occurred, false) as error_occurred,

        coalesce(chats.tokens_prompt, 0) as tokens_prompt,
        coalesce(chats.tokens_completion, 0) as tokens_completion,
        coalesce(chats.tokens_cached, 0) as tokens_cached,
        coalesce(chats.cost_prompt, 0) as cost_prompt,
        coalesce(chats.cost_completion, 0) as cost_completion,
        coalesce(chats.cost_cached, 0) as cost_cached,
        chats.response_time_ms,
        chats.user_query_length,
        chats.ai_response_length,
        chats.intermediate_steps,

        ratings.rating as user_feedback_rating,
        ratings.feedback_text as user_feedback_text,
        ratings.feedback_at as user_feedback_at
    from chats
    left join
        ratings
        on
            chats.client_id = ratings.client_id
            and chats.message_id = ratings.message_id
            and chats.event_id = ratings.event_id
            and chats.occurred_at = ratings.occurred_at
),

priced as (
    select
        *,
        tokens_prompt + tokens_completion as tokens_total,
        cost_prompt + cost_completion + cost_cached as cost_total,
        case
            when cache_hit then cost_prompt + cost_completion - cost_cached
            else 0
        end as cost_saved,
        now() as updated_at
    from rated_chats
)

select * from priced
