with

span as (
    select
        {{ last_as_of() }} - make_interval(hours => 24 * {{ argument('days') }}) as starts_at,
        {{ last_as_of() }} as ends_at
),

users as (
    select distinct events.user_id
    from span
    inner join {{ ref('int_events') }} as events on {{ in_span('events', 'span') }}
    where events.user_id is not null
),

converted_users as (
    select distinct revenues.user_id
    from span
    inner join {{ ref('int_revenue_events') }} as revenues on {{ in_span('revenues', 'span') }}
    where {{ is_converting_payment('revenues.type') }}
)

-- Who pays has an event: all who converted are among the users.
select {{ pct2('count(converted_users.user_id)', 'count(*)') }}
from users
left join converted_users on users.user_id = converted_users.user_id
