{{ config(meta={'dagster': {'ref': {'name': 'response_time_distribution'}}}) }}

-- A month with an answered message has all five buckets in their order; one without has no row.
select
    client_id,
    month
from {{ ref('response_time_distribution') }}
group by client_id, month
having
    array_agg(bucket order by bucket_order) <> (
        select array_agg(buckets.bucket order by buckets.bucket_order)
        from {{ response_buckets() }} as buckets (bucket, bucket_order)
    )
    or sum(bucket_order) <> 15
    or sum(responses) = 0
