-- A month with a visitor has all three steps, and no step has more visitors than `visit`.
select
    client_id,
    month
from {{ ref('visitor_funnel_monthly') }}
group by client_id, month
having
    count(*) <> 3
    or max(visitors) > max(visitors) filter (where step = 'visit')
    or max(visitors) filter (where step = 'visit') = 0
