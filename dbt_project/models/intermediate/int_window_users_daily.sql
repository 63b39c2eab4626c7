{#
    Windows of a user's days overlap. Each counts from where the one before it ends, so that added
    up they count the user once.
#}
with

user_days as (
    select * from {{ ref('int_user_days') }}
    where {{ in_touched_cells(['date']) }}
),

days_before as (
    select
        user_days.date,
        user_days.has_converted,
        seen.date as seen_on,
        converted.date as converted_on
    from user_days
    left join lateral (
        select earlier.date from {{ ref('int_user_days') }} as earlier
        where
            earlier.user_id = user_days.user_id
            and earlier.date < user_days.date
            and earlier.date > user_days.date - {{ var('conversion_days') }}
        order by earlier.date desc
        limit 1
    ) as seen on true
    left join lateral (
        select earlier.date from {{ ref('int_user_days') }} as earlier
        where
            user_days.has_converted
            and earlier.has_converted
            and earlier.user_id = user_days.user_id
            and earlier.date < user_days.date
            and earlier.date > user_days.date - {{ var('conversion_days') }}
        order by earlier.date desc
        limit 1
    ) as converted on true
),

spells as (
    select
        date,
        coalesce(seen_on + {{ var('conversion_days') }}, date) as counts_from,
        1 as users,
        0 as converted_users
    from days_before
    union all
    select
        date,
        coalesce(converted_on + {{ var('conversion_days') }}, date) as counts_from,
        0 as users,
        1 as converted_users
    from days_before
    where has_converted
),

days as (
    select
        date,
        counts_from,
        sum(users)::bigint as users,
        sum(converted_users)::bigint as converted_users,
        {{ built_batch_seq() }} as built_batch_seq,
        {{ as_of() }} as built_as_of,
        now() as updated_at
    from spells
    group by date, counts_from
)

select * from days
