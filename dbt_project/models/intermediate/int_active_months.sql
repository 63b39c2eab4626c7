with

touched as (
    select * from {{ touched_table() }}
),

-- `not materialized`: looked up by its indexes, once per row.
events as not materialized (
    select * from {{ ref('int_actor_days') }}
    where {{ is_visible() }}
),

months as (
    select
        member_type,
        member_id,
        month_start,
        {{ built_batch_seq() }} as built_batch_seq,
        {{ as_of() }} as built_as_of,
        now() as updated_at
    from touched
    where
        (
            member_type = 'client'
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
            member_type = 'user'
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

select * from months
