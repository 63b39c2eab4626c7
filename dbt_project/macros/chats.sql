{# What the AI-usage marts share. #}

{# Sums, means and percentiles over chats, the same for a day and for a month. #}
{% macro chat_measures() -%}
    count(*) as message_count,
    {{ count_conversations() }} as conversation_count,
    count(distinct document_id) as document_count,
    sum(tokens_total) as tokens_total,
    sum(tokens_cached)::numeric as tokens_cached,
    count(*) filter (where cache_hit) as cache_hit_count,
    sum(cost_total) as cost_total,
    sum(cost_saved) as cost_saved_by_cache,
    {{ mean_response_time_ms() }} as avg_response_time_ms,
    {{ percentile_ms(0.5) }} as median_response_time_ms,
    {{ percentile_ms(0.95) }} as p95_response_time_ms,
    count(*) filter (where error_occurred) as error_count,
    round(avg(user_feedback_rating), 2) as avg_feedback_rating,
    count(user_feedback_rating) as feedback_count
{%- endmacro %}


{# Response times may have any number of decimals: Postgres' own mean is already rounded. #}
{% macro mean_response_time_ms() -%}
    ({{ rounded_ratio('sum(response_time_ms)', 'count(response_time_ms)', 0) }})::bigint
{%- endmacro %}


{# A conversation belongs to its client; a chat without one belongs to none. #}
{% macro count_conversations() -%}
    count(distinct (client_id, conversation_id)) filter (where conversation_id is not null)
{%- endmacro %}


{# Postgres' percentile_cont computes in floating point; this is exact until it is rounded. #}
{% macro percentile_ms(fraction) -%}
    round(warehouse.percentile(
        array_agg(response_time_ms order by response_time_ms) filter (
            where response_time_ms is not null
        ),
        {{ fraction }}
    ))::bigint
{%- endmacro %}


{# When a month's running sums first reach a share of any limit. #}
{% macro first_time_at_share(share) -%}
    min(created_at) filter (
        where
        messages_so_far >= {{ share }} * monthly_message_limit
        or tokens_so_far >= {{ share }} * monthly_token_limit
        or cost_so_far >= {{ share }} * monthly_cost_limit
    )
{%- endmacro %}


{# The measures of a user's month in user_monthly_usage, for the views on it. #}
{% macro user_month_measures() -%}
    message_count,
    conversation_count,
    document_count,
    tokens_total,
    tokens_cached,
    cache_hit_count,
    cost_total,
    cost_saved_by_cache,
    avg_response_time_ms,
    median_response_time_ms,
    p95_response_time_ms,
    error_count,
    avg_feedback_rating,
    feedback_count,
    active_days,
    cache_hit_rate,
    error_rate,
    last_activity_at
{%- endmacro %}
