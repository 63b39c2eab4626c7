{# What the marts of clients share. #}

{# Whether an event is one of the funnel; a lead's other events are those of the CRM. #}
{% macro is_funnel_event(column='event') -%}
    {{ column }} in (
        'lead_created', 'first_response', 'qualified', 'appointment_booked', 'quote_requested',
        'quote_sent', 'quote_accepted', 'job_won', 'job_lost', 'payment_received',
        'review_requested', 'review_received'
    )
{%- endmacro %}


{# The stages of a lead. #}
{% macro lead_stages() -%}
    {{ return(['new', 'qualifying', 'nurturing', 'hot', 'booked', 'lost']) }}
{%- endmacro %}


{# The funnel's six steps, in order. #}
{% macro funnel_step_names() -%}
    {{ return(['lead_created', 'first_response', 'qualified', 'appointment_booked', 'quote_sent', 'job_won']) }}
{%- endmacro %}


{# The same as rows: the step and its place, from 1. #}
{% macro funnel_steps() -%}
    (
        values
        {% for step in funnel_step_names() %}
        ('{{ step }}', {{ loop.index }}){{ ',' if not loop.last }}
        {% endfor %}
    )
{%- endmacro %}


{# Whether an event is one of the funnel's six steps. #}
{% macro is_funnel_step(column='event') -%}
    {{ column }} in ('{{ funnel_step_names() | join("', '") }}')
{%- endmacro %}


{#
    Whether a lead has reached a step in order: no earlier step has a later first time. (An earlier
    step that was itself out of order is before one that was reached, and so excludes nothing more.)
#}
{% macro reached_in_order(step) -%}
    {% set steps = funnel_step_names() -%}
    coalesce({{ step }}_at >= greatest(
        {%- for earlier in steps[:steps.index(step)] %}{{ earlier }}_at{{ ', ' if not loop.last }}{% endfor -%}
    ), false)
{%- endmacro %}


{# Events of no client have the client `_platform`. #}
{% macro is_client(column='client_id') -%}
    {{ column }} <> '_platform'
{%- endmacro %}


{# The span of each client, limited to the day of as_of; empty if it ends before it starts. #}
{% macro client_spans(clients) -%}
    (
        select
            client_id,
            first_on,
            least(last_on, {{ day_of(as_of()) }}) as last_on
        from {{ clients }}
    )
{%- endmacro %}


{# The touched cells of a dense mart within a client's span; `start_on` is the period's first day. #}
{% macro touched_client_periods(unit, column, start_on) -%}
    (
        select
            touched.client_id,
            touched.{{ column }}
        from (select * from {{ touched_table() }}) as touched
        inner join
            {{ client_spans(ref('int_clients')) }} as spans
            on touched.client_id = spans.client_id
        where
            {{ start_on }} between date_trunc('{{ unit }}', spans.first_on::timestamp)::date and spans.last_on
            and spans.first_on <= spans.last_on
    ) as touched_client_periods
{%- endmacro %}


{# Whether a step counts for its lead's cohort: every lead has the same time. #}
{% macro in_cohort_window(time_from_created) -%}
    {{ time_from_created }} < make_interval(hours => {{ var('cohort_hours') }})
{%- endmacro %}


{# When the youngest leads of the month of `created_at` have had that time. #}
{% macro matures_at(created_at) -%}
    ((date_trunc('month', {{ created_at }} at time zone 'utc') + interval '1 month') at time zone 'utc' + make_interval(hours => {{ var('cohort_hours') }}))
{%- endmacro %}


{# The place of the bucket, from 1, that a time to an answer belongs to. #}
{% macro response_bucket_order(seconds) -%}
    case
        {%- for bucket in var('response_time_buckets') if bucket.most_seconds %}
        when {{ seconds }} <= {{ bucket.most_seconds }} then {{ loop.index }}
        {%- endfor %}
        else {{ var('response_time_buckets') | length }}
    end
{%- endmacro %}


{# The buckets as rows: the name and its place, from 1. #}
{% macro response_buckets() -%}
    (
        values
        {% for bucket in var('response_time_buckets') %}
        ('{{ bucket.name }}', {{ loop.index }}){{ ',' if not loop.last }}
        {% endfor %}
    )
{%- endmacro %}


{# The counts of a client's day, except its new leads. #}
{% macro client_day_counts() -%}
    {{ return([
        'total_conversations', 'ai_responses', 'human_responses', 'inbound_messages',
        'outbound_messages', 'escalations', 'appointments_booked', 'quotes_requested',
        'quotes_sent', 'jobs_won', 'jobs_lost', 'review_requests_sent', 'reviews_received',
    ]) }}
{%- endmacro %}


{# The amounts in cents of a client's day. #}
{% macro client_day_amounts() -%}
    {{ return(['revenue_attributed_cents', 'invoices_sent_cents', 'payments_collected_cents']) }}
{%- endmacro %}


{# The sources of leads that have a column of their own, such as leads_from_web_forms. #}
{% macro counted_lead_sources() -%}
    {{ return(['missed_call', 'web_form', 'referral']) }}
{%- endmacro %}
