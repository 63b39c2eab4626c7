with

clients as (
    select * from {{ ref('int_clients') }}
    where {{ in_touched_cells(['client_id']) }}
),

activity as (
    select * from {{ ref('int_client_activity_daily') }}
    where client_id in (select clients.client_id from clients)
),

cohorts as (
    select
        client_id,
        date_trunc('month', created_at at time zone 'utc') as cohort_start
    from clients
),

active_months as (
    select
        member_id as client_id,
        month_start
    from {{ ref('int_active_months') }}
    where member_type = 'client'
),

revenues as (
    select
        client_id,
        {{ start_of('month', 'date') }} as month_start,
        sum(revenue_attributed_cents) as revenue_cents
    from activity
    group by client_id, {{ start_of('month', 'date') }}
),

activities as (
    select
        {% for number in [1, 2, 3, 6, 12] %}
        case
            when
                bool_or(months.month_start = cohorts.cohort_start + interval '{{ number }} months')
                then true
            when
                cohorts.cohort_start + interval '{{ number + 1 }} months'
                <= {{ as_of() }} at time zone 'utc'
                then false
        end as month_{{ number }}_active,
        {% endfor %}
        cohorts.client_id,
        cohorts.cohort_start
    from cohorts
    left join active_months as months on cohorts.client_id = months.client_id
    group by cohorts.client_id, cohorts.cohort_start
),

earnings as (
    select
        cohorts.client_id,
        {% for number in [1, 3, 6, 12] %}
        case
            when
                cohorts.cohort_start + interval '{{ number }} months'
                <= {{ as_of() }} at time zone 'utc'
                then {{ to_bigint("
                    coalesce(sum(revenues.revenue_cents) filter (
                        where
                        revenues.month_start = cohorts.cohort_start + interval '" ~ number ~ " months'
                    ), 0)
                ") }}
        end as month_{{ number }}_revenue_cents,
        {% endfor %}
        {{ to_bigint('coalesce(sum(revenues.revenue_cents), 0)') }} as lifetime_revenue_cents
    from cohorts
    left join revenues on cohorts.client_id = revenues.client_id
    group by cohorts.client_id, cohorts.cohort_start
),

measured as (
    select
        activities.client_id,
        {{ month_of('activities.cohort_start') }} as cohort_month,
        activities.month_1_active,
        activities.month_2_active,
        activities.month_3_active,
        activities.month_6_active,
        activities.month_12_active,
        earnings.month_1_revenue_cents,
        earnings.month_3_revenue_cents,
        earnings.month_6_revenue_cents,
        earnings.month_12_revenue_cents,
        earnings.lifetime_revenue_cents,
        now() as updated_at
    from activities
    inner join earnings on activities.client_id = earnings.client_id
)

select * from measured
