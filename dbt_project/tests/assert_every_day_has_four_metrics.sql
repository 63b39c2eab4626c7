{{ config(meta={'dagster': {'ref': {'name': 'business_metrics'}}}) }}

-- A day has all four metrics, and only the conversion rate may be unknown, so that a chart has no
-- gap.
select
    period_start,
    count(*) as metrics
from {{ ref('business_metrics') }}
group by period_start
having
    count(*) <> 4
    or count(*) filter (where metric_name = 'mrr') <> 1
    or count(*) filter (where metric_value is null and metric_name <> 'conversion_rate') > 0
    or min(metric_value) filter (where metric_name = 'conversion_rate') < 0
    or max(metric_value) filter (where metric_name = 'conversion_rate') > 100
