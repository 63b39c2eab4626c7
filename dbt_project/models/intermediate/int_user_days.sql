with

touched as (
    select * from {{ touched_table() }}
),

events as (
    select * from {{ ref('int_actor_days') }}
    where {{ is_visible() }}
),

payments as (
    select * from {{ ref('int_revenue_events') }}
    where
        {{ is_converting_payment() }}
        and {{ is_visible() }}
        and {{ in_touched_cells(['user_id', 'occurred_on']) }}
),

-- Two conditions on the day: one for many days at once, and a range that has an index.
active as (
    select
        touched.user_id,
        touched.date
    from touched
    inner join
        events
        on
            touched.user_id = events.user_id
            and touched.date = events.occurred_on
            and events.occurred_at >= touched.date::timestamp at time zone 'utc'
            and events.occurred_at < (touched.date + 1)::timestamp at time zone 'utc'
    group by touched.user_id, touched.date
),

converting as (
    select
        user_id,
        occurred_on
    from payments
    group by user_id, occurred_on
),

days as (
    select
        active.user_id,
        active.date,
        converting.user_id is not null as has_converted,
        {{ built_batch_seq() }} as built_batch_seq,
        {{ as_of() }} as built_as_of,
        now() as updated_at
    from active
    left join
        converting
        on active.user_id = converting.user_id and active.date = converting.occurred_on
)

select * from days
