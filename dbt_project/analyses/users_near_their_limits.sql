-- Who will run into a limit this month?
select
    user_id,
    status,
    usage_percent,
    messages_remaining,
    last_activity_at
from {{ ref('user_current_month') }}
where status <> 'normal'
order by usage_percent desc, user_id asc
