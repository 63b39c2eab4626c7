{# What the marts of traffic share. #}

{#
    Whether a page view counts: its visitor is known and not a bot. Others stay in the facts and are
    left out of the marts.
#}
{% macro is_of_visitor(alias=none) -%}
    {% set of = alias ~ '.' if alias else '' -%}
    {{ of }}visitor_id is not null
    and not {{ of }}is_bot
{%- endmacro %}


{# The measures of page views, for every grouping. #}
{% macro view_measures() -%}
    count(*) as page_views,
    count(distinct visitor_id) as unique_visitors
{%- endmacro %}


{# The measures of sessions by their start, the same for an hour and for a day. #}
{% macro session_measures() -%}
    count(*) as sessions,
    count(*) filter (where is_bounce) as bounces,
    round(avg(extract(epoch from ended_at - started_at)))::bigint as avg_session_seconds
{%- endmacro %}


{# The measures of conversions, the same for an hour and for a day. #}
{% macro conversion_measures() -%}
    count(*) filter (where event = 'contact_submitted') as contact_submissions,
    count(*) filter (where event = 'signup') as signups
{%- endmacro %}


{# After this time without a page view, the next one begins a new session. #}
{% macro session_gap() -%}
    make_interval(mins => {{ var('session_gap_minutes') }})
{%- endmacro %}


{# A session that is cut from page views is shorter than this. #}
{% macro longest_session() -%}
    make_interval(hours => {{ var('session_hours') }})
{%- endmacro %}


{#
    The id of the session that a page view without a session would begin. The text of an array is
    unique to client, visitor and instant, and the same in every time zone.
#}
{% macro cut_session_id(client_id, visitor_id, started_at) -%}
    left(encode({{ hashed(
        'jsonb_build_array(' ~ client_id ~ ', ' ~ visitor_id
        ~ ', extract(epoch from ' ~ started_at ~ '))::text'
    ) }}, 'hex'), 32)
{%- endmacro %}


{# An address's host in lower case, without user, port and `www.`; NULL if it has no scheme. #}
{% macro host_of(address) -%}
    nullif(regexp_replace(lower(regexp_replace(regexp_replace(
        substring({{ address }} from '^[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)'), '^.*@', ''
    ), ':[0-9]*$', '') collate "C"), '^www\.', ''), '')
{%- endmacro %}


{# The funnel of visitors in order. #}
{% macro visitor_steps() -%}
    (values ('visit', 1), ('engaged', 2), ('converted', 3))
{%- endmacro %}
