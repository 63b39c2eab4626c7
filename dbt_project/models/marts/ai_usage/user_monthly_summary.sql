{{ config(materialized='view') }}

select
    user_id,
    year,
    month,
    year_month,
    make_date(year, month, 1) as month_start,
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
    last_activity_at,
    updated_at
from {{ ref('user_monthly_usage') }}
