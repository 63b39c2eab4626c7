{# A session counts once, in the day in which it started, with all its page views so far. #}
with

views as (
    select
        client_id,
        occurred_on as date,
        visitor_id
    from {{ ref('int_page_view_events') }}
    where
        {{ is_of_visitor() }}
        and {{ is_visible() }}
        and {{ in_touched_cells(['client_id', 'occurred_on']) }}
),

conversions as (
    select
        client_id,
        occurred_on as date,
        event
    from {{ ref('int_conversion_events') }}
    where
        not is_bot
        and {{ is_visible() }}
        and {{ in_touched_cells(['client_id', 'occurred_on']) }}
),

sessions as (
    select
        client_id,
        started_on as date,
        started_at,
        ended_at,
        is_bounce
    from {{ ref('sessions') }}
    where {{ in_touched_cells(['client_id', 'started_on']) }}
),

viewed as (
    select
        client_id,
        date,
        {{ view_measures() }}
    from views
    group by client_id, date
),

started as (
    select
        client_id,
        date,
        {{ session_measures() }}
    from sessions
    group by client_id, date
),

converted as (
    select
        client_id,
        date,
        {{ conversion_measures() }}
    from conversions
    group by client_id, date
),

dates as (
    select
        client_id,
        date
    from viewed
    union
    select
        client_id,
        date
    from converted
),

measured as (
    select
        dates.client_id,
        dates.date,

        coalesce(viewed.page_views, 0) as page_views,
        coalesce(viewed.unique_visitors, 0) as unique_visitors,
        coalesce(started.sessions, 0) as sessions,
        coalesce(started.bounces, 0) as bounces,
        started.avg_session_seconds,
        coalesce(converted.contact_submissions, 0) as contact_submissions,
        coalesce(converted.signups, 0) as signups,

        now() as updated_at
    from dates
    left join viewed on dates.client_id = viewed.client_id and dates.date = viewed.date
    left join started on dates.client_id = started.client_id and dates.date = started.date
    left join converted on dates.client_id = converted.client_id and dates.date = converted.date
)

select * from measured
