{{ config(meta={'dagster': {'ref': {'name': 'api_performance_daily'}}}) }}

-- The calls and errors of a day are those of its hours. The two marts are compared only when both
-- have the same offset: one may be built without the other.
with

hours as (
    select
        endpoint,
        method,
        (hour at time zone 'utc')::date as date,
        sum(total_calls) as total_calls,
        sum(error_calls) as error_calls
    from {{ ref('api_performance_hourly') }}
    group by endpoint, method, (hour at time zone 'utc')::date
),

same_offsets as (
    select count(*) as marts
    from {{ source('warehouse', 'model_offsets') }}
    where model in ('api_performance_hourly', 'api_performance_daily')
    having min(batch_seq) = max(batch_seq) and min(as_of) = max(as_of)
)

select
    coalesce(days.endpoint, hours.endpoint) as endpoint,
    coalesce(days.method, hours.method) as method,
    coalesce(days.date, hours.date) as date
from {{ ref('api_performance_daily') }} as days
full join
    hours
    on
        days.endpoint = hours.endpoint
        and days.method = hours.method
        and days.date = hours.date
cross join same_offsets
where
    (days.total_calls, days.error_calls) is distinct from (hours.total_calls, hours.error_calls)
    or days.total_calls < days.error_calls
