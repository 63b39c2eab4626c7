{#
    Cells of sessions that new page views touch. Of a session that is cut, every view is a cell: it
    may begin a session, or have begun one before.

    A new view changes only these sessions: the one that contains it, or that ended less than the
    gap before it; and the following ones, up to the first that begins a full gap after the view
    before it, which starts a session in any case. Sessions are cut from their start on, so earlier
    ones stay. Both ends are starts of known sessions, found by an index: the cost of a view depends
    on the sessions around it, not on its visitor's history.
#}
{% macro touched__sessions_of_views() -%}
    select client_id, session_key, session_id is null
    from new_rows
    where {{ is_of_visitor() }} and {{ in_window('occurred_on') }}
    union all
    select spans.client_id, views.session_key, true
    from (
        select client_id, visitor_id, unnest(range_agg(tstzrange(since, until))) as span
        from (
            select
                arrived.client_id,
                arrived.visitor_id,
                coalesce(
                    (
                        select max(nearest.started_at)
                        from (
                            select known.started_at from {{ this }} as known
                            where
                                known.client_id = arrived.client_id
                                and known.visitor_id = arrived.visitor_id
                                and known.is_cut
                                and known.ended_at > arrived.occurred_at - {{ session_gap() }}
                            order by known.ended_at
                            -- The session that contains the view, and the one after it; a third
                            -- begins a gap later.
                            limit 2
                        ) as nearest
                        where nearest.started_at <= arrived.occurred_at
                    ),
                    arrived.occurred_at
                ) as since,
                coalesce(
                    -- One visitor's sessions that are cut end in the order in which they start.
                    (
                        select known.started_at from {{ this }} as known
                        where
                            known.client_id = arrived.client_id
                            and known.visitor_id = arrived.visitor_id
                            and known.is_cut
                            and known.ended_at >= arrived.occurred_at + {{ session_gap() }}
                            and known.started_at >= arrived.occurred_at + {{ session_gap() }}
                            and not exists (
                                select 1 from {{ this }} as one_before
                                where
                                    one_before.client_id = known.client_id
                                    and one_before.visitor_id = known.visitor_id
                                    and one_before.is_cut
                                    and one_before.ended_at < known.started_at
                                    and one_before.ended_at > known.started_at - {{ session_gap() }}
                            )
                        order by known.ended_at
                        limit 1
                    ),
                    'infinity'
                ) as until
            from new_rows as arrived
            where
                arrived.session_id is null
                and {{ is_of_visitor('arrived') }}
                and {{ is_increment() }}
        ) as changed
        group by client_id, visitor_id
    ) as spans
    -- One span at a time, by the index: that is what `offset 0` keeps the planner to.
    cross join lateral (
        select every_view.session_key
        from {{ ref('int_page_view_events') }} as every_view
        where
            every_view.client_id = spans.client_id
            and every_view.visitor_id = spans.visitor_id
            and every_view.occurred_at >= lower(spans.span)
            and every_view.occurred_at < upper(spans.span)
            and every_view.session_id is null
            and not every_view.is_bot
            and {{ is_visible('every_view') }}
        offset 0
    ) as views
    union all
    -- A backfill recomputes all views of its days' visitors: it does not rely on known sessions.
    select client_id, session_key, true from new_rows
    where
        current_setting('warehouse.mode') = 'window'
        and session_id is null
        and {{ is_of_visitor() }}
        and (client_id, visitor_id) in (
            select client_id, visitor_id from new_rows
            where session_id is null and {{ in_window('occurred_on') }}
        )
    union all
    select client_id, session_id, is_cut from {{ this }}
    where current_setting('warehouse.mode') = 'window' and {{ in_window('started_on') }}
{%- endmacro %}


{# Cells of sessions that new conversions touch: of a session that is cut, all its views. #}
{% macro touched__sessions_of_conversions() -%}
    select client_id, session_id, false from new_rows
    where
        session_id is not null
        and not is_bot
        and {{ is_increment() }}
    union all
    select keys.client_id, keys.session_key, keys.is_cut
    from (
        select sessions.*
        from (
            select
                client_id,
                visitor_id,
                min(occurred_at) as first_at,
                range_agg(tstzrange(occurred_at, occurred_at, '[]')) as moments
            from new_rows
            where session_id is null and {{ is_of_visitor() }} and {{ is_increment() }}
            group by client_id, visitor_id
        ) as arrived
        -- One visitor at a time, and each session once, however many conversions it has.
        cross join lateral (
            select
                known.client_id, known.visitor_id, known.session_id, known.is_cut,
                known.started_at, known.ended_at
            from {{ this }} as known
            where
                known.client_id = arrived.client_id
                and known.visitor_id = arrived.visitor_id
                and known.ended_at > arrived.first_at - {{ session_gap() }}
                and arrived.moments && tstzrange(known.started_at, known.ended_at + {{ session_gap() }})
            offset 0
        ) as sessions
    ) as converted
    cross join lateral (
        select converted.client_id, converted.session_id as session_key, converted.is_cut
        union all
        select views.client_id, views.session_key, true
        from {{ ref('int_page_view_events') }} as views
        where
            converted.is_cut
            and views.client_id = converted.client_id
            and views.visitor_id = converted.visitor_id
            and views.occurred_at between converted.started_at and converted.ended_at
            and views.session_id is null
            and not views.is_bot
            and {{ is_visible('views') }}
    ) as keys
{%- endmacro %}


{# When sessions that were rewritten begin (see moments_of_sessions). #}
{% macro touched__starts_of_sessions(columns) -%}
    select {{ columns | join(', ') }} from {{ moments_of_sessions('started_at') }}
{%- endmacro %}


{# When sessions that were rewritten end (see moments_of_sessions). #}
{% macro touched__ends_of_sessions(columns) -%}
    select {{ columns | join(', ') }} from {{ moments_of_sessions('ended_at') }}
{%- endmacro %}


{#
    When sessions that were rewritten (`new_rows`) begin or end, now and as the model has read them
    before. Any view of a session that is cut may have begun or ended one before: every hour of it
    counts.
#}
{% macro moments_of_sessions(bound) -%}
    (
        select client_id, {{ bound }} as occurred_at from new_rows
        union all
        select new_rows.client_id, hours.start_at
        from new_rows
        cross join lateral generate_series(
            {{ hour_of('new_rows.started_at') }}, new_rows.ended_at, interval '1 hour'
        ) as hours (start_at)
        where new_rows.is_cut and {{ is_increment() }}
        union all
        select new_rows.client_id, known.occurred_at
        from new_rows
        cross join lateral (
            select views.occurred_at from {{ ref('int_page_view_events') }} as views
            where
                views.client_id = new_rows.client_id
                and views.session_key = new_rows.session_id
                and views.session_id is not null
                and {{ is_of_visitor('views') }}
                and {{ was_visible('views') }}
            order by views.occurred_at {{ 'desc' if bound == 'ended_at' }}
            limit 1
        ) as known
        where not new_rows.is_cut and {{ is_increment() }}
    ) as moments
{%- endmacro %}
