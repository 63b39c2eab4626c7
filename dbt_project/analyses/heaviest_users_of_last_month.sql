-- Who used the AI most in the last full month, and how much did each cost?
select
    user_id,
    message_count,
    active_days,
    tokens_total,
    cost_total as cost_usd,
    limit_reached
from {{ ref('user_monthly_usage') }}
where
    user_id <> 'none'
    and year_month = to_char(
        {{ current_as_of('user_monthly_usage') }} at time zone 'utc' - interval '1 month', 'YYYY-MM'
    )
order by cost_usd desc, user_id asc
limit 20
