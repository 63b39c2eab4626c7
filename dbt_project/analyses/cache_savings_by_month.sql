-- Does the cache pay, and does it get better?
select
    to_char(date, 'YYYY-MM') as month,
    {{ has_ended('month', "to_date(to_char(date, 'YYYY-MM'), 'YYYY-MM')", 'system_daily_metrics') }}
        as is_complete,
    sum(total_messages) as chats,
    sum(cost_total) as cost_usd,
    sum(cost_saved_by_cache) as saved_usd,
    round(
        100 * sum(cost_saved_by_cache) / nullif(sum(cost_total) + sum(cost_saved_by_cache), 0), 2
    ) as saved_percent
from {{ ref('system_daily_metrics') }}
group by month
order by month
