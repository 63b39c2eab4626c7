{# What the marts of clients share. #}

{# The events that make up the funnel; what else concerns a lead is CRM. #}
{% macro funnel_events() -%}
    (
        'lead_created', 'first_response', 'qualified', 'appointment_booked', 'quote_requested',
        'quote_sent', 'quote_accepted', 'job_won', 'job_lost', 'payment_received',
        'review_requested', 'review_received'
    )
{%- endmacro %}


{# The stages that a lead can stand in. #}
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


{#
    Whether a lead has reached a step in order: no step before it has a later first time. One that
    was itself out of order lies before one that was reached, and so forbids nothing more.
#}
{% macro reached_in_order(step) -%}
    {% set steps = funnel_step_names() -%}
    coalesce({{ step }}_at >= greatest(
        {%- for earlier in steps[:steps.index(step)] %}{{ earlier }}_at{{ ', ' if not loop.last }}{% endfor -%}
    ), false)
{%- endmacro %}


{# Events that belong to no client are filed under this one. #}
{% macro is_client(column='client_id') -%}
    {{ column }} <> '_platform'
{%- endmacro %}


{# The span of each client, cut off at as_of's day; empty where it ends before it starts. #}
{% macro client_spans(clients) -%}
    (
        select
            client_id,
            first_on,
            least(last_on, {{ day_of(as_of()) }}) as last_on
        from {{ clients }}
    )
{%- endmacro %}


{# Of changed clients (`new_rows`) the first days of all periods that their span touches. #}
{% macro periods_of_changed_clients(unit) -%}
    (
        select
            spans.client_id,
            starts.start_on::date as start_on
        from {{ client_spans('(select * from new_rows where not is_erased) as standing') }} as spans
        cross join lateral generate_series(
            date_trunc('{{ unit }}', spans.first_on::timestamp),
            spans.last_on::timestamp,
            interval '1 {{ unit }}'
        ) as starts (start_on)
        -- A week or month may start before a span that ends before it starts.
        where spans.first_on <= spans.last_on
    ) as periods_of_changed_clients
{%- endmacro %}


{# The touched cells of a dense mart that lie in a span; `start_on` is the period's first day. #}
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


{#
    Touched cells of a dense mart, that is one with a row for every client and period of the span:
    the periods that began since the model last looked, and, of clients that have changed
    (`new_rows` of int_clients), those that came into the span or left it. `key` is the mart's
    period column as a first day.
#}
{% macro touched_periods(unit, key) -%}
    select
        client_id,
        start_on
    from (
        select
            spans.client_id,
            starts.start_on::date as start_on
        from {{ client_spans(ref('int_clients')) }} as spans
        cross join lateral generate_series(
            greatest(
                date_trunc('{{ unit }}', spans.first_on::timestamp),
                date_trunc('{{ unit }}', {{ day_of(from_as_of()) }}::timestamp) + interval '1 {{ unit }}'
            ),
            spans.last_on::timestamp,
            interval '1 {{ unit }}'
        ) as starts (start_on)
        where spans.first_on <= spans.last_on
        {% if load_cached_relation(this) is not none %}
        union all
        (
            select client_id, start_on from {{ periods_of_changed_clients(unit) }}
            except all
            select client_id, {{ key }} from {{ this }}
        )
        union all
        (
            select client_id, {{ key }} from {{ this }}
            where client_id in (select client_id from new_rows)
            except all
            select client_id, start_on from {{ periods_of_changed_clients(unit) }}
        )
        {% endif %}
    ) as periods
{%- endmacro %}


{# Touched cells of a dense mart: all of a client that is none any more. #}
{% macro vanished_periods(column) -%}
    {% if load_cached_relation(this) is not none %}
    select client_id, {{ column }} from {{ this }}
    where
        client_id in (
            select client_id from new_rows
            except
            select client_id from {{ ref('int_clients') }}
        )
    {% endif %}
{%- endmacro %}


{#
    The day of each lead's earliest lead_created, now and as the model has seen it before, where
    that was later: what moves with a lead. `leads` are rows with client_id and lead_id.
#}
{% macro creations_of(leads) -%}
    (
        select arrived.client_id, arrived.lead_id, creations.occurred_on
        from (select distinct client_id, lead_id from {{ leads }} as leads) as arrived
        cross join lateral (
            {% for visible in [is_visible('events'), was_visible('events')] %}
            {{ 'union' if not loop.first }}
            (
                select events.occurred_on
                from {{ ref('int_lead_events') }} as events
                where
                    events.client_id = arrived.client_id
                    and events.lead_id = arrived.lead_id
                    and events.event = 'lead_created'
                    and {{ visible }}
                order by events.occurred_at, events.event_id
                limit 1
            )
            {% endfor %}
        ) as creations
        union
        select client_id, lead_id, occurred_on from {{ leads }} as erased
        where is_erased and event = 'lead_created'
    )
{%- endmacro %}


{#
    The day of a lead's next event of a kind, after a day of a row of it (`of`): one look-up by the index
    of facts, however much its lead has done.
#}
{% macro next_of_lead(event, of) -%}
    select later.occurred_on
    from {{ ref('int_lead_events') }} as later
    where
        later.client_id = {{ of }}.client_id
        and later.lead_id = {{ of }}.lead_id
        and later.event = {{ event }}
        and later.occurred_at >= ({{ of }}.occurred_on + 1)::timestamp at time zone 'utc'
        and {{ is_visible('later') }}
    order by later.occurred_at
    limit 1
{%- endmacro %}


{# Whether a step counts for its lead's cohort: every cohort is given the same time. #}
{% macro in_cohort_window(time_from_created) -%}
    {{ time_from_created }} < make_interval(hours => {{ var('cohort_hours') }})
{%- endmacro %}


{# When the youngest leads of the month of `created_at` have had their time. #}
{% macro matures_at(created_at) -%}
    ((date_trunc('month', {{ created_at }} at time zone 'utc') + interval '1 month') at time zone 'utc' + make_interval(hours => {{ var('cohort_hours') }}))
{%- endmacro %}
