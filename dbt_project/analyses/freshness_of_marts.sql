-- How fresh is each mart, and did its last checks pass? What needs a look comes first.
select
    mart,
    coalesce(last_check_status, 'not checked') as last_check_status,
    last_check_at,
    built_as_of,
    round(freshness_seconds / 3600.0, 2) as hours_old,
    batch_seq,
    row_count
from {{ ref('mart_status') }}
order by
    case coalesce(last_check_status, 'not checked')
        when 'failed' then 1
        when 'warned' then 2
        when 'not checked' then 3
        else 4
    end asc,
    hours_old desc,
    mart asc
