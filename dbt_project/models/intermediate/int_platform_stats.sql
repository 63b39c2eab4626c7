with

sessions as (
    select * from {{ ref('int_session_events') }}
    where
        {{ is_visible() }}
        and occurred_on >= {{ day_of(active_since()) }}
        and occurred_at >= {{ active_since() }}
),

days as (
    select * from {{ ref('int_platform_activity_daily') }}
),

units as (
    select * from {{ ref('stg_units') }}
),

active as (
    select count(distinct unit_id) as active_users from sessions
),

ever as (
    select
        coalesce(sum(chats), 0)::bigint as questions_answered,
        coalesce(sum(pdf_downloads), 0)::bigint as pdf_downloads
    from days
),

known as (
    select count(*) as units from units
),

stats as (
    select
        active.active_users,
        ever.questions_answered,
        ever.pdf_downloads,
        round(active.active_users / nullif(known.units, 0)::numeric, 4) as engagement_rate,
        {{ as_of() }} as updated_at
    from active
    cross join ever
    cross join known
)

select * from stats
