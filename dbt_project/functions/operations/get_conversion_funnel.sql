with

events as (
    select * from {{ ref('int_lead_events') }}
    where
        client_id = {{ argument('client_id') }}
        and {{ is_client() }}
        and occurred_on between {{ argument('start_date') }} and {{ argument('end_date') }}
        and occurred_at < {{ last_as_of() }}
),

stages as (
    select
        steps.stage,
        steps.stage_order,
        count(distinct events.lead_id) as leads,
        {{ to_bigint('coalesce(sum(events.value_cents), 0)') }} as value_cents
    from {{ funnel_steps() }} as steps (stage, stage_order)
    left join events on steps.stage = events.event
    group by steps.stage, steps.stage_order
)

select
    stage,
    leads,
    value_cents,
    {{ pct('leads', 'case when stage_order = 1 then leads else lag(leads) over in_order end') }}
        as conversion_rate
from stages
window in_order as (order by stage_order)
order by stage_order
