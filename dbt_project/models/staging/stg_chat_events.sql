with

raw_events as (
    select * from {{ source('staging', 'raw_events') }}
    where event = 'chat'
),

batches as (
    select * from {{ source('staging', 'event_batches') }}
),

typed as (
    select
        raw_events.client_id,
        raw_events.event_id,
        batches.batch_seq,

        nullif(raw_events.actor ->> 'user_id', '') as user_id,
        raw_events.properties ->> 'conversation_id' as conversation_id,
        raw_events.properties ->> 'message_id' as message_id,
        raw_events.properties ->> 'document_id' as document_id,

        raw_events.properties ->> 'model_name' as model_name,
        raw_events.properties ->> 'model_version' as model_version,
        raw_events.properties ->> 'model_provider' as model_provider,
        raw_events.properties ->> 'error_code' as error_code,
        raw_events.properties ->> 'error_message' as error_message,
        raw_events.properties ->> 'query_intent' as query_intent,
        nullif(raw_events.properties -> 'sections_referenced', 'null') as sections_referenced,
        coalesce(raw_events.properties, '{}') - {{ chat_properties() }} as metadata,

        (raw_events.properties ->> 'cache_hit')::boolean as cache_hit,
        (raw_events.properties ->> 'error_occurred')::boolean as error_occurred,

        (raw_events.properties ->> 'tokens_prompt')::numeric::bigint as tokens_prompt,
        (raw_events.properties ->> 'tokens_completion')::numeric::bigint as tokens_completion,
        (raw_events.properties ->> 'tokens_cached')::numeric::bigint as tokens_cached,
        (raw_events.properties ->> 'cost_prompt')::numeric as cost_prompt,
        (raw_events.properties ->> 'cost_completion')::numeric as cost_completion,
        (raw_events.properties ->> 'cost_cached')::numeric as cost_cached,
        (raw_events.properties ->> 'response_time_ms')::numeric as response_time_ms,
        (raw_events.properties ->> 'user_query_length')::numeric::bigint as user_query_length,
        (raw_events.properties ->> 'ai_response_length')::numeric::bigint as ai_response_length,
        (raw_events.properties ->> 'intermediate_steps')::numeric::bigint as intermediate_steps,

        raw_events."timestamp" as occurred_at,
        (raw_events."timestamp" at time zone 'utc')::date as occurred_on
    from raw_events
    inner join batches on raw_events.batch_id = batches.batch_id
)

select * from typed
