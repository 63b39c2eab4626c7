with

touched as (
    select user_id from {{ touched_table() }}
),

entities as (
    select * from {{ ref('stg_users') }}
    where created_at < {{ as_of() }}
),

events as (
    select * from {{ ref('int_actor_days') }}
    where {{ is_visible() }}
),

seen as (
    select
        touched.user_id,
        first_events.occurred_at as first_seen_at
    from touched
    {{ left_join_bound('first_events', 'events', 'user_id', 'occurred_at') }}
),

users as (
    select
        seen.user_id,
        entities.user_id is null as is_inferred,
        entities.client_id,
        entities."role",
        entities.plan,
        entities.monthly_message_limit,
        entities.monthly_token_limit,
        entities.monthly_cost_limit,
        entities.updated_at as entity_updated_at,
        coalesce(entities.created_at, seen.first_seen_at) as created_at,
        seen.first_seen_at,
        now() as updated_at
    from seen
    left join entities on seen.user_id = entities.user_id
    where entities.user_id is not null or seen.first_seen_at is not null
)

select * from users
