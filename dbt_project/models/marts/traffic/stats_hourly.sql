{# A session counts once, in the hour in which it started, with all its page views so far. #}
with

touched as (
    select * from {{ touched_table() }}
),

views as (
    select
        touched.client_id,
        touched.hour,
        rows_of_day.visitor_id
    from touched
    inner join
        {{ ref('int_page_view_events') }} as rows_of_day
        on
            touched.client_id = rows_of_day.client_id
            and {{ day_of('touched.hour') }} = rows_of_day.occurred_on
            and touched.hour = {{ hour_of('rows_of_day.occurred_at') }}
    where {{ is_of_visitor('rows_of_day') }} and {{ is_visible('rows_of_day') }}
),

conversions as (
    select
        touched.client_id,
        touched.hour,
        rows_of_day.event
    from touched
    inner join
        {{ ref('int_conversion_events') }} as rows_of_day
        on
            touched.client_id = rows_of_day.client_id
            and {{ day_of('touched.hour') }} = rows_of_day.occurred_on
            and touched.hour = {{ hour_of('rows_of_day.occurred_at') }}
    where not rows_of_day.is_bot and {{ is_visible('rows_of_day') }}
),

sessions as (
    select
        touched.client_id,
        touched.hour,
        rows_of_day.started_at,
        rows_of_day.ended_at,
        rows_of_day.is_bounce
    from touched
    inner join
        {{ ref('sessions') }} as rows_of_day
        on
            touched.client_id = rows_of_day.client_id
            and {{ day_of('touched.hour') }} = rows_of_day.started_on
            and touched.hour = {{ hour_of('rows_of_day.started_at') }}
),

viewed as (
    select
        client_id,
        hour,
        {{ view_measures() }}
    from views
    group by client_id, hour
),

started as (
    select
        client_id,
        hour,
        {{ session_measures() }}
    from sessions
    group by client_id, hour
),

converted as (
    select
        client_id,
        hour,
        {{ conversion_measures() }}
    from conversions
    group by client_id, hour
),

hours as (
    select
        client_id,
        hour
    from viewed
    union
    select
        client_id,
        hour
    from converted
),

measured as (
    select
        hours.client_id,
        hours.hour,

        coalesce(viewed.page_views, 0) as page_views,
        coalesce(viewed.unique_visitors, 0) as unique_visitors,
        coalesce(started.sessions, 0) as sessions,
        coalesce(started.bounces, 0) as bounces,
        started.avg_session_seconds,
        coalesce(converted.contact_submissions, 0) as contact_submissions,
        coalesce(converted.signups, 0) as signups,

        now() as updated_at
    from hours
    left join viewed on hours.client_id = viewed.client_id and hours.hour = viewed.hour
    left join started on hours.client_id = started.client_id and hours.hour = started.hour
    left join converted on hours.client_id = converted.client_id and hours.hour = converted.hour
)

select * from measured
