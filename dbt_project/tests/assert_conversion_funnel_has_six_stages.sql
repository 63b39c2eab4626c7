{{ config(meta={'dagster': {'ref': {'name': 'conversion_funnel'}}}) }}

-- A month with a funnel event has all six stages in their order, so that a chart has no gap where a
-- stage has no leads.
select
    client_id,
    month
from {{ ref('conversion_funnel') }}
group by client_id, month
having
    array_agg(stage order by stage_order) <> array[
        'lead_created', 'first_response', 'qualified', 'appointment_booked', 'quote_sent', 'job_won'
    ]
    or sum(stage_order) <> 21
