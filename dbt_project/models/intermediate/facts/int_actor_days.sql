with

new_days as (
    select * from {{ ref('stg_actor_days') }}
    where {{ in_new_batches() }}
),

-- If an erasure removed the first event of a day, another one of the batch may be the first now.
newly_first as (
    select * from {{ ref('stg_actor_days') }}
    where {{ is_increment() }} and batch_seq = any(array({{ batches_erased_from() }}))
),

-- If retention has dropped that one, the fact of all events still has its client and user.
first_of_users as (
    select distinct on (client_id, user_id, batch_seq, occurred_on) *
    from {{ ref('int_events') }}
    where {{ is_increment() }} and batch_seq = any(array({{ batches_erased_from() }}))
    order by client_id, user_id, batch_seq, occurred_on, occurred_at, event_id
),

-- Looked up key by key, because there are few or none: never by reading all raw events.
first_and_dropped as (
    select
        client_id,
        event_id,
        batch_seq,
        user_id,
        null as lead_id,
        null as anonymous_id,
        occurred_at,
        occurred_on
    from first_of_users
    where (
        select true
        from {{ ref('stg_events') }} as landed
        where
            first_of_users.client_id = landed.client_id
            and first_of_users.event_id = landed.event_id
            and first_of_users.occurred_at = landed.occurred_at
    ) is null
),

days as (
    select * from new_days
    union all
    select * from newly_first
    union all
    select * from first_and_dropped
)

select * from days
