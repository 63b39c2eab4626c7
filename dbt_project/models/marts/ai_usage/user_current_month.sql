with

months as (
    select * from {{ ref('user_monthly_usage') }}
    where
        user_id <> 'none'
        and year_month = to_char(
            {{ current_as_of('user_monthly_usage') }} at time zone 'utc', 'YYYY-MM'
        )
)

select
    user_id,
    year,
    month,
    year_month,
    {{ user_month_measures() }},
    monthly_message_limit,
    monthly_token_limit,
    monthly_cost_limit,
    limit_reached,
    limit_reached_at,
    notified_80_percent,
    notified_100_percent,
    greatest(
        {{ rounded_ratio('100 * message_count', 'monthly_message_limit', 2) }},
        {{ rounded_ratio('100 * tokens_total', 'monthly_token_limit', 2) }},
        {{ rounded_ratio('100 * cost_total', 'monthly_cost_limit', 2) }}
    ) as usage_percent,
    case
        when monthly_message_limit is not null
            then greatest(monthly_message_limit - message_count, 0)
    end as messages_remaining,
    case
        when limit_reached then 'limit_reached'
        when {{ has_used(var('warning_share')) }} then 'warning'
        when {{ has_used(var('approaching_share')) }} then 'approaching'
        else 'normal'
    end as status,
    updated_at,
    is_complete
from months
