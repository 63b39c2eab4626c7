-- Who used the AI most in the last full month, and how much did each cost?
select
    usage.user_id,
    users.client_id,
    users.plan,
    usage.message_count,
    usage.active_days,
    usage.tokens_total,
    usage.cost_total as cost_usd,
    usage.limit_reached
from {{ ref('user_monthly_usage') }} as usage
inner join {{ ref('users') }} as users on usage.user_id = users.user_id
where
    usage.user_id <> 'none'
    and usage.year_month = to_char(
        {{ current_as_of('user_monthly_usage') }} at time zone 'utc' - interval '1 month', 'YYYY-MM'
    )
order by cost_usd desc, usage.user_id asc
limit {{ parameter('rows') }}
