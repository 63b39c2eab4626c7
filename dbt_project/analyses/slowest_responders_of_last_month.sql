-- Which clients let people wait longest for an answer in the last full month?
with

shares as (
    select
        client_id,
        sum(responses) as answered_messages,
        round(100 * sum(responses) filter (where bucket_order <= 2) / sum(responses), 2)
            as within_5_min_percent,
        round(100 * sum(responses) filter (where bucket_order >= 4) / sum(responses), 2)
            as over_15_min_percent,
        round(100 * sum(responses) filter (where bucket_order = 5) / sum(responses), 2)
            as over_1_hour_percent
    from {{ ref('response_time_distribution') }}
    where
        month = to_char(
            {{ current_as_of('response_time_distribution') }} at time zone 'utc'
            - interval '1 month',
            'YYYY-MM'
        )
    group by client_id
    -- A handful of messages says little.
    having sum(responses) >= {{ var('fewest_for_a_share') }}
)

select
    shares.client_id,
    clients.name,
    shares.answered_messages,
    shares.within_5_min_percent,
    shares.over_15_min_percent,
    shares.over_1_hour_percent
from shares
inner join {{ ref('clients') }} as clients on shares.client_id = clients.client_id
order by shares.within_5_min_percent asc, shares.client_id asc
limit {{ parameter('rows') }}
