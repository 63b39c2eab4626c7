{# Rates and means as the marts define them, and exact. #}

{#
    As bigint, limited to its range: no real sum of cents exceeds it, and the sums of one tenant
    must not fail the build for all. The added term keeps NULL, which least() would ignore.
#}
{% macro to_bigint(x) -%}
    (
        least(greatest({{ x }}, -9223372036854775807), 9223372036854775807) + 0 * ({{ x }})::numeric
    )::bigint
{%- endmacro %}


{# round(10000 * x / y), NULL when y is 0. #}
{% macro bp(x, y) -%}
    round(10000 * ({{ x }})::numeric / nullif({{ y }}, 0))::bigint
{%- endmacro %}


{# round(100 * x / y), NULL when y is 0. #}
{% macro pct(x, y) -%}
    round(100 * ({{ x }})::numeric / nullif({{ y }}, 0))::bigint
{%- endmacro %}


{#
    round(100 * (this - previous) / previous), NULL when previous is NULL or 0, and while the period
    runs: part of a month against the whole month before would look like a loss.
#}
{% macro change(this, previous, is_complete) -%}
    case when {{ is_complete }} then {{ to_bigint(
        'round(100 * (' ~ this ~ ' - ' ~ previous ~ ')::numeric / nullif(' ~ previous ~ ', 0))'
    ) }} end
{%- endmacro %}


{# round(x / y), a mean in whole units, NULL when y is 0. #}
{% macro whole_mean(x, y) -%}
    {{ to_bigint('round((' ~ x ~ ')::numeric / nullif(' ~ y ~ ', 0))') }}
{%- endmacro %}


{# round(100 * x / y, 2), NULL when y is 0. #}
{% macro pct2(x, y) -%}
    round(100 * ({{ x }})::numeric / nullif({{ y }}, 0), 2)
{%- endmacro %}


{#
    round(x / y, digits) for a y above 0, NULL when y is 0. Postgres' own division rounds to 16
    digits or so, and rounding that again may be wrong. This divides whole numbers.
#}
{% macro rounded_ratio(x, y, digits) -%}
    sign(({{ x }})::numeric)
    * div(abs({{ x }})::numeric * 2e{{ digits }} + {{ y }}, nullif(2 * {{ y }}, 0)::numeric)
    * 1e-{{ digits }}
{%- endmacro %}
