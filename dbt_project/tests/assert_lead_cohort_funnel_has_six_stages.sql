{{ config(meta={'dagster': {'ref': {'name': 'lead_cohort_funnel'}}}) }}

-- A cohort has all six stages in their order, and at no stage more leads than were created. (It may
-- have more at a stage than at the one before: leads skip stages.)
select
    client_id,
    cohort_month
from {{ ref('lead_cohort_funnel') }}
group by client_id, cohort_month
having
    array_agg(stage order by stage_order) <> array[
        'lead_created', 'first_response', 'qualified', 'appointment_booked', 'quote_sent', 'job_won'
    ]
    or sum(stage_order) <> 21
    or max(leads) > max(leads) filter (where stage = 'lead_created')
