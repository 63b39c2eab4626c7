{{ config(meta={'dagster': {'ref': {'name': 'analytics_daily'}}}) }}

-- Every new lead has one source: together they are all of the day's new leads, and none is below 0.
select *
from {{ ref('analytics_daily') }}
where
    new_leads
    <> leads_from_missed_calls + leads_from_web_forms + leads_from_referrals + leads_from_other
    or least(leads_from_missed_calls, leads_from_web_forms, leads_from_referrals, leads_from_other)
    < 0
