with

events as (
    select * from {{ ref('int_events') }}
    where
        user_id = nullif({{ argument('user_id') }}, '')
        and occurred_at >= {{ last_as_of() }} - make_interval(hours => 24 * {{ argument('days') }})
        and occurred_at < {{ last_as_of() }}
),

-- Sessions belong to their client: two clients' may have one id.
sessions as (
    select distinct
        client_id,
        session_id
    from events
    where session_id is not null
)

select
    least(
        {{ var('engagement_points').most }},
        {{ var('engagement_points').event }} * (select count(*) from events)
        + {{ var('engagement_points').session }} * (select count(*) from sessions)
    )::integer as points
