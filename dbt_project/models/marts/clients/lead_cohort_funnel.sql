with

touched as (
    select
        client_id,
        cohort_month,
        to_date(cohort_month, 'YYYY-MM') as month_start
    from {{ touched_table() }}
    where {{ is_client() }}
),

all_leads as (
    select * from {{ ref('lead_funnel') }}
    where {{ in_touched_span('lead_created_at', "to_date(cohort_month, 'YYYY-MM')") }}
),

leads as (
    select
        touched.cohort_month,
        touched.month_start,
        all_leads.*
    from touched
    inner join
        all_leads
        on
            touched.client_id = all_leads.client_id
            and touched.month_start::timestamp at time zone 'utc' <= all_leads.lead_created_at
            and (touched.month_start + interval '1 month') at time zone 'utc'
            > all_leads.lead_created_at
),

times as (
    select
        leads.client_id,
        leads.cohort_month,
        leads.month_start,
        steps.stage,
        steps.stage_order,
        case
            when steps.stage = 'lead_created' then leads.lead_created_at
            when steps.stage = 'first_response' and {{ reached_in_order('first_response') }}
                then leads.first_response_at
            when steps.stage = 'qualified' and {{ reached_in_order('qualified') }}
                then leads.qualified_at
            when steps.stage = 'appointment_booked' and {{ reached_in_order('appointment_booked') }}
                then leads.appointment_booked_at
            when steps.stage = 'quote_sent' and {{ reached_in_order('quote_sent') }}
                then leads.quote_sent_at
            when steps.stage = 'job_won' and {{ reached_in_order('job_won') }}
                then leads.job_won_at
        end - leads.lead_created_at as time_from_created
    from leads
    cross join {{ funnel_steps() }} as steps (stage, stage_order)
),

counted as (
    select
        client_id,
        cohort_month,
        month_start,
        stage,
        stage_order,
        count(*) filter (where {{ in_cohort_window('time_from_created') }}) as leads,
        warehouse.percentile(
            array_agg(
                extract(epoch from time_from_created) order by time_from_created
            ) filter (where {{ in_cohort_window('time_from_created') }}),
            0.5
        ) as median_seconds
    from times
    group by client_id, cohort_month, month_start, stage, stage_order
),

converted as (
    select
        client_id,
        cohort_month,
        stage,
        stage_order,
        leads,
        {{ pct('leads', 'first_value(leads) over in_order') }} as conversion_rate,
        round(median_seconds / 3600, 2) as median_hours_from_created,
        {{ matures_at("month_start::timestamp at time zone 'utc'") }} <= {{ as_of() }} as is_mature,
        {{ has_ended('month', 'month_start') }} as is_complete,
        now() as updated_at
    from counted
    window in_order as (partition by client_id, cohort_month order by stage_order)
)

select * from converted
