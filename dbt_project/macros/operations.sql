{# What the marts of operations and of the business share. #}

{#
    Narrows an input by one column of the touched cells, beside in_touched_cells: so that it is read
    by an index on that column where none is on the whole cell. (An array is no join: the other
    condition alone is one, on all columns at once.)
#}
{% macro in_touched(column, cell) -%}
    {{ column }} = any(array(select distinct {{ cell }} from {{ touched_table() }}))
{%- endmacro %}


{#
    A text of any length as an index can hold it. By SHA-256: somebody who finds two texts with the
    same hash could break every build. (A cast of text to bytea would read backslashes.)
#}
{% macro hashed(text) -%}
    sha256(decode(replace({{ text }}, '\', '\\'), 'escape'))
{%- endmacro %}


{#
    round(x / y, digits) for a y above 0, NULL when y is 0. Postgres' own division is rounded, to 16
    digits or so: rounded again it may be off. This divides whole numbers.
#}
{% macro rounded_ratio(x, y, digits) -%}
    sign({{ x }})
    * div(abs({{ x }}) * 2e{{ digits }} + {{ y }}, nullif(2 * {{ y }}, 0)::numeric)
    * 1e-{{ digits }}
{%- endmacro %}


{# Whether an HTTP status tells of an error. #}
{% macro is_error(status_code) -%}
    {{ status_code }} >= 400
{%- endmacro %}


{# What is measured of API calls, the same for an hour and for a day. #}
{% macro call_measures() -%}
    count(*) as total_calls,
    count(*) filter (where {{ is_error('status_code') }}) as error_calls,
    {{ pct2('count(*) filter (where ' ~ is_error('status_code') ~ ')', 'count(*)') }} as error_rate,
    {{ pct2('count(*) filter (where not ' ~ is_error('status_code') ~ ')', 'count(*)') }} as success_rate,
    ({{ rounded_ratio('sum(response_time_ms)', 'count(*)', 0) }})::bigint as avg_response_time_ms,
    {{ percentile_ms(0.5) }} as p50_response_time_ms,
    {{ percentile_ms(0.95) }} as p95_response_time_ms,
    {{ percentile_ms(0.99) }} as p99_response_time_ms
{%- endmacro %}


{# The payments that convert a user: an upgrade is of one who has converted. #}
{% macro converting_payments() -%}
    ('subscription', 'purchase')
{%- endmacro %}


{# The payments of a user who pays: all that is no refund. #}
{% macro payments() -%}
    ('subscription', 'upgrade', 'purchase')
{%- endmacro %}
