{# Days, hours, weeks and months, all of them in UTC. #}

{# The UTC day of an instant. #}
{% macro day_of(instant) -%}
    ({{ instant }} at time zone 'utc')::date
{%- endmacro %}


{# The start of an instant's UTC hour. #}
{% macro hour_of(instant) -%}
    date_trunc('hour', {{ instant }}, 'utc')
{%- endmacro %}


{# The first day of a day's week (Monday) or month. #}
{% macro start_of(unit, day) -%}
    date_trunc('{{ unit }}', {{ day }}::timestamp)::date
{%- endmacro %}


{#
    Whether the week or month that starts on a day had ended by as_of: of the build, or in queries
    of marts that of a mart's last build.
#}
{% macro has_ended(unit, start_on, as_of_mart=none) -%}
    ({{ start_on }} + interval '1 {{ unit }}') at time zone 'utc'
    <= {{ current_as_of(as_of_mart) if as_of_mart else as_of() }}
{%- endmacro %}


{# A month as the marts write it: 'YYYY-MM'. #}
{% macro month_of(day) -%}
    to_char({{ day }}, 'YYYY-MM')
{%- endmacro %}


{# The length of a window of API errors and of uptime. #}
{% macro window_length() -%}
    make_interval(mins => {{ var('window_minutes') }})
{%- endmacro %}


{# The start of an instant's window. #}
{% macro window_start_of(instant) -%}
    date_bin({{ window_length() }}, {{ instant }}, '1970-01-01T00:00:00Z'::timestamptz)
{%- endmacro %}


{# The length of a period of the last hours, such as 7d. #}
{% macro length_of_period(period) -%}
    make_interval(hours => {{ var('period_hours')[period] }})
{%- endmacro %}


{# An instant as text for JSON, the same in every session time zone. #}
{% macro iso_of(instant) -%}
    to_char({{ instant }} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
{%- endmacro %}


{# The Monday of a day's week. #}
{% macro start_of_week(day) -%}
    {{ start_of('week', day) }}
{%- endmacro %}


{# The first day of a day's month. #}
{% macro start_of_month(day) -%}
    {{ start_of('month', day) }}
{%- endmacro %}


{# A day's year. #}
{% macro year_of(day) -%}
    extract(year from {{ day }})::integer
{%- endmacro %}


{# A day's month, from 1 to 12. #}
{% macro month_number_of(day) -%}
    extract(month from {{ day }})::integer
{%- endmacro %}
