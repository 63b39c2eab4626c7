{# The properties of `chat` in the tracking plan: all others of an event are its metadata. #}
{% macro chat_properties() -%}
    array[
        'conversation_id', 'message_id', 'document_id', 'model_name', 'model_version',
        'model_provider', 'tokens_prompt', 'tokens_completion', 'tokens_cached', 'cost_prompt',
        'cost_completion', 'cost_cached', 'response_time_ms', 'cache_hit', 'user_query_length',
        'ai_response_length', 'error_occurred', 'error_code', 'error_message', 'query_intent',
        'sections_referenced', 'intermediate_steps'
    ]
{%- endmacro %}
