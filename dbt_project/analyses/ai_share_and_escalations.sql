-- Where the AI writes more of the replies, are conversations handed over to people more often?
with

client_months as (
    select
        client_id,
        date_trunc('month', date)::date as month_start,
        sum(ai_responses) as ai_responses,
        sum(outbound_messages) as outbound_messages,
        sum(inbound_messages + outbound_messages) as messages,
        sum(escalations) as escalations
    from {{ ref('analytics_daily') }}
    group by client_id, date_trunc('month', date)::date
    having sum(outbound_messages) > 0
),

bands as (
    select
        *,
        -- 100 % belongs to the last band.
        least(20 * div(100 * ai_responses, 20 * outbound_messages), 80) as ai_percent_from
    from client_months
)

select
    ai_percent_from,
    ai_percent_from + 20 as ai_percent_to,
    count(*) as client_months,
    sum(messages) as messages,
    round(100 * sum(ai_responses) / sum(outbound_messages), 2) as ai_percent,
    sum(escalations) as escalations,
    round(100 * sum(escalations) / sum(messages), 2) as escalation_percent
from bands
group by ai_percent_from
order by ai_percent_from
