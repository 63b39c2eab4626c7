with

touched as (
    select client_id from {{ touched_table() }}
    where {{ is_client() }}
),

entities as (
    select * from {{ ref('stg_clients') }}
    where created_at < {{ as_of() }}
),

-- `not materialized`: looked up by its indexes, once per row.
events as not materialized (
    select * from {{ ref('int_actor_days') }}
    where {{ is_visible() }}
),

seen as (
    select
        touched.client_id,
        first_events.occurred_at as first_seen_at,
        last_events.occurred_on as last_seen_on
    from touched
    {{ left_join_bound('first_events', 'events', 'client_id', 'occurred_at') }}
    {{ left_join_bound('last_events', 'events', 'client_id', 'occurred_on', 'max', 'occurred_at') }}
),

members as (
    select
        seen.client_id,
        entities.client_id is null as is_inferred,
        entities.name,
        entities.status,
        entities.plan,
        entities.updated_at as entity_updated_at,
        coalesce(entities.created_at, seen.first_seen_at) as created_at,
        case when entities.churned_at < {{ as_of() }} then entities.churned_at end as churned_at,
        seen.first_seen_at,
        seen.last_seen_on
    from seen
    left join entities on seen.client_id = entities.client_id
    where entities.client_id is not null or seen.first_seen_at is not null
),

clients as (
    select
        client_id,
        is_inferred,
        name,
        status,
        plan,
        entity_updated_at,
        created_at,
        churned_at,
        first_seen_at,
        {{ day_of('least(created_at, first_seen_at)') }} as first_on,
        case
            when churned_at is not null
                then greatest({{ day_of('churned_at') }}, last_seen_on)
        end as last_on,
        {{ built_batch_seq() }} as built_batch_seq,
        {{ as_of() }} as built_as_of,
        now() as updated_at
    from members
)

select * from clients
