-- Are leads won more often the sooner they are answered first?
-- Every lead is given the same 30 days, so younger ones are left out.
with

leads as (
    select
        *,
        extract(epoch from first_response_at - lead_created_at) as seconds_to_answer
    from {{ ref('lead_funnel') }}
    where lead_created_at <= {{ current_as_of('lead_funnel') }} - {{ length_of_period('30d') }}
),

answered as (
    select
        case
            when first_response_at is null then 'not in 30 days'
            when first_response_at >= lead_created_at + {{ length_of_period('30d') }}
                then 'not in 30 days'
            when seconds_to_answer < 0 then 'before the lead was created'
            else (
                select buckets.bucket
                from {{ response_buckets() }} as buckets (bucket, bucket_order)
                where buckets.bucket_order = {{ response_bucket_order('seconds_to_answer') }}
            )
        end as answered_after,
        seconds_to_answer,
        job_won_at < lead_created_at + {{ length_of_period('30d') }} as is_won,
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
