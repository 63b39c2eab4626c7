{{ config(meta={'dagster': {'ref': {'name': 'traffic_sources_daily'}}}) }}

-- Every session has one source: together they are all sessions that started on the day. The two
-- marts are compared only when both have the same offset: one may be built without the other.
with

by_source as (
    select
        client_id,
        date,
        sum(sessions) as sessions
    from {{ ref('traffic_sources_daily') }}
    group by client_id, date
),

by_day as (
    select * from {{ ref('stats_daily') }}
    where sessions > 0
),

same_offsets as (
    select count(*) as marts
    from {{ source('warehouse', 'model_offsets') }}
    where model in ('stats_daily', 'traffic_sources_daily')
    having min(batch_seq) = max(batch_seq) and min(as_of) = max(as_of)
)

select
    coalesce(by_day.client_id, by_source.client_id) as client_id,
    coalesce(by_day.date, by_source.date) as date,
    by_day.sessions,
    by_source.sessions as sessions_by_source
from by_day
full join
    by_source
    on by_day.client_id = by_source.client_id and by_day.date = by_source.date
cross join same_offsets
where by_day.sessions is distinct from by_source.sessions
