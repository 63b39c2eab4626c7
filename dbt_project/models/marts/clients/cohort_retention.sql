{#
    One cell, rewritten whole: it reads a row for each member and month, however many events there
    were, and a member that changes its cohort changes two of them.
#}
with

clients as (
    select * from {{ ref('int_clients') }}
),

users as (
    select * from {{ ref('int_users') }}
),

active_months as (
    select * from {{ ref('int_active_months') }}
),

revenues as (
    select * from {{ ref('analytics_monthly') }}
    where revenue_attributed_cents <> 0
),

members as (
    select
        'client' as cohort_type,
        client_id as member_id,
        {{ start_of('month', day_of('created_at')) }} as cohort_start
    from clients
    union all
    select
        'user' as cohort_type,
        user_id as member_id,
        {{ start_of('month', day_of('created_at')) }} as cohort_start
    from users
),

cohorts as (
    select
        cohort_type,
        cohort_start,
        count(*) as cohort_size
    from members
    group by cohort_type, cohort_start
),

cohort_months as (
    select
        cohorts.cohort_type,
        cohorts.cohort_start,
        cohorts.cohort_size,
        months.month_start::date as month_start,
        (months.number - 1)::integer as month_number
    from cohorts
    cross join lateral generate_series(
        cohorts.cohort_start::timestamp,
        date_trunc('month', {{ as_of() }} at time zone 'utc'),
        interval '1 month'
    ) with ordinality as months (month_start, number)
),

activities as (
    select
        members.cohort_type,
        members.cohort_start,
        active_months.month_start,
        count(*) as active
    from members
    inner join
        active_months
        on
            members.cohort_type = active_months.member_type
            and members.member_id = active_months.member_id
    group by members.cohort_type, members.cohort_start, active_months.month_start
),

earnings as (
    select
        members.cohort_type,
        members.cohort_start,
        to_date(revenues.month, 'YYYY-MM') as month_start,
        sum(revenues.revenue_attributed_cents) as revenue_cents
    from members
    inner join revenues on members.member_id = revenues.client_id
    where members.cohort_type = 'client'
    group by members.cohort_type, members.cohort_start, to_date(revenues.month, 'YYYY-MM')
),

measured as (
    select
        cohort_months.cohort_type,
        {{ month_of('cohort_months.cohort_start') }} as cohort_month,
        cohort_months.month_number,
        cohort_months.cohort_size,
        coalesce(activities.active, 0) as active,
        {{ pct2('coalesce(activities.active, 0)', 'cohort_months.cohort_size') }} as retention_rate,
        case
            when cohort_months.cohort_type = 'client'
                then {{ to_bigint('coalesce(earnings.revenue_cents, 0)') }}
        end as revenue_cents,
        {{ has_ended('month', 'cohort_months.month_start') }} as is_complete,
        now() as updated_at
    from cohort_months
    left join
        activities
        on
            cohort_months.cohort_type = activities.cohort_type
            and cohort_months.cohort_start = activities.cohort_start
            and cohort_months.month_start = activities.month_start
    left join
        earnings
        on
            cohort_months.cohort_type = earnings.cohort_type
            and cohort_months.cohort_start = earnings.cohort_start
            and cohort_months.month_start = earnings.month_start
)

select * from measured
