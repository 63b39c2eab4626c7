with

raw_events as (
    select * from {{ landed_events(['chat']) }}
),

typed as (
    select
        client_id,
        event_id,
        batch_seq,

        nullif(actor ->> 'user_id', '') as user_id,
        properties ->> 'conversation_id' as conversation_id,
        properties ->> 'message_id' as message_id,
        properties ->> 'document_id' as document_id,

        properties ->> 'model_name' as model_name,
        properties ->> 'model_version' as model_version,
        properties ->> 'model_provider' as model_provider,
        properties ->> 'error_code' as error_code,
        properties ->> 'error_message' as error_message,
        properties ->> 'query_intent' as query_intent,
        nullif(properties -> 'sections_referenced', 'null') as sections_referenced,
        coalesce(properties, '{}') - {{ chat_properties() }} as metadata,

        (properties ->> 'cache_hit')::boolean as cache_hit,
        (properties ->> 'error_occurred')::boolean as error_occurred,

        (properties ->> 'tokens_prompt')::numeric::bigint as tokens_prompt,
        (properties ->> 'tokens_completion')::numeric::bigint as tokens_completion,
        (properties ->> 'tokens_cached')::numeric::bigint as tokens_cached,
        (properties ->> 'cost_prompt')::numeric as cost_prompt,
        (properties ->> 'cost_completion')::numeric as cost_completion,
        (properties ->> 'cost_cached')::numeric as cost_cached,
        (properties ->> 'response_time_ms')::numeric as response_time_ms,
        (properties ->> 'user_query_length')::numeric::bigint as user_query_length,
        (properties ->> 'ai_response_length')::numeric::bigint as ai_response_length,
        (properties ->> 'intermediate_steps')::numeric::bigint as intermediate_steps,

        occurred_at,
        occurred_on
    from raw_events
)

select * from typed
