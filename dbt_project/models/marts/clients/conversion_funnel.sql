with

touched as (
    select
        client_id,
        month,
        to_date(month, 'YYYY-MM') as month_start
    from {{ touched_table() }}
    where {{ is_client() }}
),

all_events as (
    select * from {{ ref('int_lead_events') }}
    where
        {{ is_funnel_event() }}
        and {{ is_visible() }}
        and {{ in_touched_periods('occurred_on', "to_date(month, 'YYYY-MM')") }}
),

events as (
    select
        touched.client_id,
        touched.month,
        all_events.lead_id,
        all_events.event,
        all_events.value_cents
    from touched
    inner join
        all_events
        on
            touched.client_id = all_events.client_id
            and touched.month_start <= all_events.occurred_on
            and touched.month_start + interval '1 month' > all_events.occurred_on
),

months as (
    select
        client_id,
        month
    from events
    group by client_id, month
),

counted as (
    select
        client_id,
        month,
        event,
        count(distinct lead_id) as leads,
        {{ to_bigint('coalesce(sum(value_cents), 0)') }} as value_cents
    from events
    group by client_id, month, event
),

stages as (
    select
        months.client_id,
        months.month,
        steps.stage,
        steps.stage_order,
        coalesce(counted.leads, 0) as leads,
        coalesce(counted.value_cents, 0) as value_cents
    from months
    cross join {{ funnel_steps() }} as steps (stage, stage_order)
    left join
        counted
        on
            months.client_id = counted.client_id
            and months.month = counted.month
            and steps.stage = counted.event
),

converted as (
    select
        client_id,
        month,
        stage,
        stage_order,
        leads,
        value_cents,
        {{ pct(
            'leads', 'case when stage_order = 1 then leads else lag(leads) over in_order end'
        ) }} as conversion_rate,
        {{ has_ended('month', "to_date(month, 'YYYY-MM')") }} as is_complete,
        now() as updated_at
    from stages
    window in_order as (partition by client_id, month order by stage_order)
)

select * from converted
