select count(distinct user_id)
from {{ ref('int_events') }}
where
    occurred_on = coalesce({{ argument('target_date') }}, {{ day_of(last_as_of()) }})
    and occurred_at < {{ last_as_of() }}
