-- How many people chat each day of a week, and how many of them for the first time?
select
    date_trunc('week', date)::date as week_start,
    {{ has_ended('week', "date_trunc('week', date)::date", 'system_daily_metrics') }}
        as is_complete,
    round(avg(active_users), 1) as mean_daily_users,
    sum(new_users) as new_users,
    sum(total_messages) as chats
from {{ ref('system_daily_metrics') }}
group by week_start
order by week_start desc
