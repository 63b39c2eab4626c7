-- In which stages do leads pile up, today against 30 days ago?
with

days as (
    select
        *,
        date = ({{ current_as_of('analytics_daily') }} at time zone 'utc')::date as is_today
    from {{ ref('analytics_daily') }}
    where
        date in (
            ({{ current_as_of('analytics_daily') }} at time zone 'utc')::date,
            ({{ current_as_of('analytics_daily') }} at time zone 'utc')::date - 30
        )
        -- Clients that have left since take their leads with them.
        and client_id in (
            select client_id from {{ ref('analytics_daily') }}
            where date = ({{ current_as_of('analytics_daily') }} at time zone 'utc')::date
        )
),

stages as (
    select
        stages.stage,
        stages.stage_order,
        coalesce(sum(stages.leads) filter (where not days.is_today), 0) as leads_30_days_ago,
        coalesce(sum(stages.leads) filter (where days.is_today), 0) as leads_today,
        count(*) filter (where days.is_today and stages.leads > 0) as clients_today
    from days
    cross join
        lateral (
            values
            ('new', 1, days.leads_new),
            ('qualifying', 2, days.leads_qualifying),
            ('nurturing', 3, days.leads_nurturing),
            ('hot', 4, days.leads_hot),
            ('booked', 5, days.leads_booked),
            ('lost', 6, days.leads_lost)
        ) as stages (stage, stage_order, leads)
    group by stages.stage, stages.stage_order
)

select
    stage,
    clients_today,
    leads_30_days_ago,
    leads_today,
    leads_today - leads_30_days_ago as change,
    round(100 * (leads_today - leads_30_days_ago) / nullif(leads_30_days_ago, 0), 2)
        as change_percent
from stages
order by stage_order
