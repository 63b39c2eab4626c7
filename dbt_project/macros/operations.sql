{# What the marts of operations and of the business share. #}

{# Whether an HTTP status is an error: HTTP defines 4xx and 5xx so. #}
{% macro is_error(status_code='status_code') -%}
    {{ status_code }} >= 400
{%- endmacro %}


{# How API calls ended and how long they took, the same for an hour, a day and a summary. #}
{% macro call_outcomes() -%}
    count(*) as total_calls,
    count(*) filter (where {{ is_error() }}) as error_calls,
    {{ pct2('count(*) filter (where ' ~ is_error() ~ ')', 'count(*)') }} as error_rate,
    {{ pct2('count(*) filter (where not ' ~ is_error() ~ ')', 'count(*)') }} as success_rate,
    {{ mean_response_time_ms() }} as avg_response_time_ms
{%- endmacro %}


{# The measures of API calls, the same for an hour and for a day. #}
{% macro call_measures() -%}
    {{ call_outcomes() }},
    {{ percentile_ms(0.5) }} as p50_response_time_ms,
    {{ percentile_ms(0.95) }} as p95_response_time_ms,
    {{ percentile_ms(0.99) }} as p99_response_time_ms
{%- endmacro %}


{# Whether a payment converts a user: an upgrade is by a user who has already converted. #}
{% macro is_converting_payment(column='type') -%}
    {{ column }} in ('subscription', 'purchase')
{%- endmacro %}


{# The types of payments: all but the refund. #}
{% macro payments() -%}
    ('subscription', 'upgrade', 'purchase')
{%- endmacro %}


{#
    Whether two rows have the same producer: by the hash, which is indexed, and by the text, to be
    exact.
#}
{% macro same_producer(one, other) -%}
    {{ hashed(one ~ '.producer') }} = {{ hashed(other ~ '.producer') }}
    and {{ one }}.producer = {{ other }}.producer
{%- endmacro %}


{# What producers `SITE/INSTANCE` have in common: the loss of thousands of browsers is one row a day. #}
{% macro site_of(producer) -%}
    split_part({{ producer }}, '/', 1)
{%- endmacro %}


{# How bad a window's share of errors is: 1 medium, 2 high, 3 critical. NULL if it is tolerable. #}
{% macro error_severity(errors, calls) -%}
    case
        {%- for severity in ['critical', 'high', 'medium'] %}
        when 100 * {{ errors }} > {{ var('alert_error_percents')[severity] }} * {{ calls }} then {{ 3 - loop.index0 }}
        {%- endfor %}
    end
{%- endmacro %}


{# The id of the alert whose first bad window starts then. #}
{% macro error_alert_id(window_start) -%}
    'performance-' || to_char({{ window_start }} at time zone 'utc', 'YYYYMMDD"T"HH24MI"Z"')
{%- endmacro %}


{# The id of the alert of a user who reached a percentage of a month's limit. #}
{% macro usage_alert_id(user_id, year_month, percent) -%}
    'usage-' || {{ year_month }} || '-' || {{ percent }} || '-' || left(encode({{ hashed(user_id) }}, 'hex'), 16)
{%- endmacro %}


{# The events, by their alias, within the span of a CTE. The condition on the day is for the index. #}
{% macro in_span(alias, span) -%}
    {{ alias }}.occurred_on >= {{ day_of(span ~ '.starts_at') }}
    and {{ alias }}.occurred_at >= {{ span }}.starts_at
    and {{ alias }}.occurred_at < {{ span }}.ends_at
{%- endmacro %}


{# An argument of a function, qualified so that it is not taken for a column. #}
{% macro argument(name) -%}
    {{ model.name }}.{{ name }}
{%- endmacro %}
