{# The month's visitors: who engaged, and who converted, in any order. #}
with

touched as (
    select
        client_id,
        month,
        to_date(month, 'YYYY-MM') as month_start
    from {{ touched_table() }}
),

all_views as (
    select * from {{ ref('int_page_view_events') }}
    where
        {{ is_of_visitor() }}
        and {{ is_visible() }}
        and {{ in_touched_periods('occurred_on', "to_date(month, 'YYYY-MM')") }}
),

all_conversions as (
    select * from {{ ref('int_conversion_events') }}
    where
        {{ is_of_visitor() }}
        and {{ is_visible() }}
        and {{ in_touched_periods('occurred_on', "to_date(month, 'YYYY-MM')") }}
),

all_sessions as (
    select * from {{ ref('sessions') }}
    where {{ in_touched_periods('started_on', "to_date(month, 'YYYY-MM')") }}
),

visitors as (
    select
        touched.client_id,
        touched.month,
        all_views.visitor_id,
        min(all_views.occurred_at) as first_view_at
    from touched
    inner join
        all_views
        on
            touched.client_id = all_views.client_id
            and touched.month_start <= all_views.occurred_on
            and touched.month_start + interval '1 month' > all_views.occurred_on
    group by touched.client_id, touched.month, all_views.visitor_id
),

engaged as (
    select
        touched.client_id,
        touched.month,
        all_sessions.visitor_id
    from touched
    inner join
        all_sessions
        on
            touched.client_id = all_sessions.client_id
            and touched.month_start <= all_sessions.started_on
            and touched.month_start + interval '1 month' > all_sessions.started_on
    where all_sessions.page_views >= 2
    group by touched.client_id, touched.month, all_sessions.visitor_id
),

converted as (
    select
        touched.client_id,
        touched.month,
        all_conversions.visitor_id,
        max(all_conversions.occurred_at) as last_conversion_at
    from touched
    inner join
        all_conversions
        on
            touched.client_id = all_conversions.client_id
            and touched.month_start <= all_conversions.occurred_on
            and touched.month_start + interval '1 month' > all_conversions.occurred_on
    group by touched.client_id, touched.month, all_conversions.visitor_id
),

funnels as (
    select
        visitors.client_id,
        visitors.month,
        count(*) as visit,
        count(engaged.visitor_id) as engaged,
        count(*) filter (
            where converted.last_conversion_at >= visitors.first_view_at
        ) as converted
    from visitors
    left join
        engaged
        on
            visitors.client_id = engaged.client_id
            and visitors.month = engaged.month
            and visitors.visitor_id = engaged.visitor_id
    left join
        converted
        on
            visitors.client_id = converted.client_id
            and visitors.month = converted.month
            and visitors.visitor_id = converted.visitor_id
    group by visitors.client_id, visitors.month
),

counted as (
    select
        funnels.client_id,
        funnels.month,
        steps.step,
        steps.step_order,
        case steps.step
            when 'visit' then funnels.visit
            when 'engaged' then funnels.engaged
            when 'converted' then funnels.converted
        end as visitors,
        funnels.visit
    from funnels
    cross join {{ visitor_steps() }} as steps (step, step_order)
),

rated as (
    select
        client_id,
        month,
        step,
        step_order,
        visitors,
        {{ pct2('visitors', 'visit') }} as conversion_rate,
        {{ has_ended('month', "to_date(month, 'YYYY-MM')") }} as is_complete,
        now() as updated_at
    from counted
)

select * from rated
