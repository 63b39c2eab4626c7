with

touched as (
    select * from {{ touched_table() }}
),

-- `not materialized`: looked up by its indexes, once per row.
events as not materialized (
    select * from {{ ref('int_actor_days') }}
    where {{ is_visible() }}
),

{% if is_on_cluster() %}
active as (
    select
        'client' as member_type,
        client_id as member_id,
        {{ start_of_month('occurred_on') }} as month_start
    from events
    where
        client_id in (
            select member_id from touched
            where member_type = 'client'
        )
    group by client_id, {{ start_of_month('occurred_on') }}
    union all
    select
        'user' as member_type,
        user_id as member_id,
        {{ start_of_month('occurred_on') }} as month_start
    from events
    where
        user_id in (
            select member_id from touched
            where member_type = 'user'
        )
    group by user_id, {{ start_of_month('occurred_on') }}
),

months as (
    select
        touched.member_type,
        touched.member_id,
        touched.month_start,
        {{ built_batch_seq() }} as built_batch_seq,
        {{ as_of() }} as built_as_of,
        now() as updated_at
    from touched
    inner join
        active
        on
            touched.member_type = active.member_type
            and touched.member_id = active.member_id
            and touched.month_start = active.month_start
)
{% else %}
months as (
    select
        touched.member_type,
        touched.member_id,
        touched.month_start,
        {{ built_batch_seq() }} as built_batch_seq,
        {{ as_of() }} as built_as_of,
        now() as updated_at
    from touched
    where
        (
            touched.member_type = 'client'
            and exists (
                select 1 from events
                where
                    events.client_id = touched.member_id
                    and events.occurred_at >= touched.month_start::timestamp at time zone 'utc'
                    and events.occurred_at
                    < (touched.month_start + interval '1 month') at time zone 'utc'
            )
        )
        or (
            touched.member_type = 'user'
            and exists (
                select 1 from events
                where
                    events.user_id = touched.member_id
                    and events.occurred_at >= touched.month_start::timestamp at time zone 'utc'
                    and events.occurred_at
                    < (touched.month_start + interval '1 month') at time zone 'utc'
            )
        )
)
{% endif %}

select * from months
