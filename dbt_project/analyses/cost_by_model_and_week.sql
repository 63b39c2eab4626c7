-- What does each model cost a week, and what does one answer of it cost?
select
    date_trunc('week', created_on)::date as week_start,
    {{ has_ended('week', "date_trunc('week', created_on)::date", 'chat_events') }} as is_complete,
    coalesce(model_name, 'unknown') as model,
    count(*) as chats,
    sum(cost_total) as cost_usd,
    round(avg(cost_total), 6) as cost_per_chat_usd
from {{ ref('chat_events') }}
where
    {{ parameter('since') }} is null
    or created_on >= {{ start_of('week', parameter('since')) }}
group by week_start, model
order by week_start desc, cost_usd desc
