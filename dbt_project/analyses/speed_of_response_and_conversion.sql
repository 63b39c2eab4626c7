-- Are leads won more often the sooner they are answered first?
-- Every lead is given the same 30 days, so younger ones are left out.
with

leads as (
    select
        *,
        extract(epoch from first_response_at - lead_created_at) as seconds_to_answer
    from {{ ref('lead_funnel') }}
    where lead_created_at <= {{ current_as_of('lead_funnel') }} - interval '720 hours'
),

answered as (
    select
        case
            when seconds_to_answer is null or seconds_to_answer >= 720 * 3600 then 'not in 30 days'
            when seconds_to_answer < 0 then 'before the lead was created'
            when seconds_to_answer <= 60 then '1 min or less'
            when seconds_to_answer <= 300 then '1-5 min'
            when seconds_to_answer <= 900 then '5-15 min'
            when seconds_to_answer <= 3600 then '15-60 min'
            else 'over 1 hour'
        end as answered_after,
        seconds_to_answer,
        job_won_at < lead_created_at + interval '720 hours' as is_won,
        won_value_cents
    from leads
)

select
    answered_after,
    count(*) as leads,
    count(*) filter (where is_won) as won_in_30_days,
    round(100.0 * count(*) filter (where is_won) / count(*), 2) as won_percent,
    round(coalesce(sum(won_value_cents) filter (where is_won), 0) / count(*) / 100, 2)
        as revenue_per_lead
from answered
group by answered_after
order by min(seconds_to_answer) asc nulls last
