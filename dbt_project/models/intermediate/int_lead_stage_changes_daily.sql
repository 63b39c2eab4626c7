{#
    How many more, or fewer, leads are in each stage at the end of a day than at the end of the day
    before.
#}
with

-- `not materialized`: looked up by its indexes, once per row.
events as not materialized (
    select * from {{ ref('int_lead_events') }}
    where event in ('lead_created', 'lead_stage_changed') and {{ is_visible() }}
),

days_of_leads as (
    select
        client_id,
        lead_id,
        occurred_on,
        -- Of the day's last change; a lead is created into the stage `new`.
        (array_agg(stage order by occurred_at desc, event_id desc) filter (
            where stage is not null
        ))[1] as stage
    from events
    where {{ in_touched_cells(['client_id', 'occurred_on']) }}
    group by client_id, lead_id, occurred_on
),

-- The last change before the day, and whether the lead existed at all.
days_with_the_one_before as (
    select
        days_of_leads.*,
        coalesce(
            changes.stage, case when creations.is_found then 'new' end
        ) as stage_before,
        coalesce(changes.stage is not null or creations.is_found, false) as was_counted
    from days_of_leads
    left join lateral (
        select events.stage from events
        where
            events.client_id = days_of_leads.client_id
            and events.lead_id = days_of_leads.lead_id
            and events.event = 'lead_stage_changed'
            and events.occurred_at < days_of_leads.occurred_on::timestamp at time zone 'utc'
        order by events.occurred_at desc, events.event_id desc
        limit 1
    ) as changes on true
    left join lateral (
        -- A lead that is created again stays in its stage.
        select true as is_found from events
        where
            events.client_id = days_of_leads.client_id
            and events.lead_id = days_of_leads.lead_id
            and events.event = 'lead_created'
            and events.occurred_at < days_of_leads.occurred_on::timestamp at time zone 'utc'
        order by events.occurred_at
        limit 1
    ) as creations on true
),

moves as (
    select
        client_id,
        occurred_on,
        coalesce(stage, stage_before, 'new') as stage,
        1 as change
    from days_with_the_one_before
    union all
    select
        client_id,
        occurred_on,
        stage_before as stage,
        -1 as change
    from days_with_the_one_before
    where was_counted
),

days as (
    select
        client_id,
        occurred_on as date,
        {% for stage in lead_stages() %}
        coalesce(sum(change) filter (where stage = '{{ stage }}'), 0)::bigint as leads_{{ stage }},
        {% endfor %}
        now() as updated_at
    from moves
    group by client_id, occurred_on
)

select * from days
