-- How many of a month's leads really get to each stage, and what do the month's volumes suggest?
-- The cohort follows the same leads for 90 days, the volumes count all who reached the stage in the
-- month. Where the cohort is not mature, its later stages are still to grow.
with

volumes as (
    select
        month,
        stage,
        stage_order,
        sum(leads) as leads,
        bool_and(is_complete) as is_complete
    from {{ ref('conversion_funnel') }}
    group by month, stage, stage_order
),

cohorts as (
    select
        cohort_month,
        stage,
        sum(leads) as leads,
        bool_and(is_mature) as is_mature
    from {{ ref('lead_cohort_funnel') }}
    group by cohort_month, stage
),

compared as (
    select
        cohorts.cohort_month as month,
        volumes.stage_order,
        cohorts.stage,
        volumes.is_complete,
        cohorts.is_mature,
        cohorts.leads as cohort_leads,
        round(
            100 * cohorts.leads / first_value(cohorts.leads) over in_order, 2
        ) as cohort_percent,
        volumes.leads as volume_leads,
        round(
            100 * volumes.leads / nullif(first_value(volumes.leads) over in_order, 0), 2
        ) as volume_percent
    from cohorts
    inner join
        volumes
        on cohorts.cohort_month = volumes.month and cohorts.stage = volumes.stage
    window in_order as (partition by cohorts.cohort_month order by volumes.stage_order)
)

select * from compared
where
    month >= to_char(
        {{ current_as_of('lead_cohort_funnel') }} at time zone 'utc'
        - make_interval(months => {{ parameter('months') }}),
        'YYYY-MM'
    )
order by month desc, stage_order asc
