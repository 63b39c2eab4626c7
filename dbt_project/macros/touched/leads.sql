{# Cells that depend on other events of the same lead. #}

{#
    The day of each lead's earliest lead_created, now and as of the last build, where that was
    later: everything that is counted by a lead's creation moves with it.
#}
{% macro touched__creations_of_leads(columns, where) -%}
    select {{ columns | join(', ') }}
    from (
        select arrived.client_id, arrived.lead_id, creations.occurred_on
        from (select distinct client_id, lead_id from new_rows where {{ where }}) as arrived
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
        select client_id, lead_id, occurred_on from new_rows
        where is_erased and event = 'lead_created'
    ) as creations_of_leads
{%- endmacro %}


{# The same in incremental builds only, for a mart whose cells include the days of all new rows. #}
{% macro touched__moved_creations_of_leads(columns, where) -%}
    select * from (
        {{ touched__creations_of_leads(columns, where) }}
    ) as moved
    where {{ is_increment() }}
{%- endmacro %}


{# Cohorts that had their full time between the last build and this one. #}
{% macro touched__matured_cohorts() -%}
    select client_id, {{ month_of(day_of('lead_created_at')) }}
    from {{ ref('lead_funnel') }}
    where
        -- A month has 31 days at most.
        lead_created_at >= {{ from_as_of() }} - make_interval(hours => 31 * 24 + {{ var('cohort_hours') }})
        and {{ matures_at('lead_created_at') }} > {{ from_as_of() }}
        and {{ matures_at('lead_created_at') }} <= {{ as_of() }}
{%- endmacro %}


{# All funnel events of leads whose earliest lead_created is new: they carry its source and campaign. #}
{% macro touched__events_of_moved_leads() -%}
    select events.client_id, events.event_id, events.occurred_at
    from (
        select distinct on (client_id, lead_id) * from new_rows
        where
            event = 'lead_created'
            and {{ is_increment() }}
        order by client_id, lead_id, occurred_at, event_id
    ) as created
    -- One lead at a time, by the index: that is what `offset 0` keeps the planner to.
    left join lateral (
        select known.occurred_at, known.event_id
        from {{ ref('int_lead_events') }} as known
        where
            known.client_id = created.client_id
            and known.lead_id = created.lead_id
            and known.event = 'lead_created'
            and {{ was_visible('known') }}
        order by known.occurred_at, known.event_id
        limit 1
    ) as known_before on true
    cross join lateral (
        select lead_events.client_id, lead_events.event_id, lead_events.occurred_at
        from {{ ref('int_lead_events') }} as lead_events
        where
            lead_events.client_id = created.client_id
            and lead_events.lead_id = created.lead_id
            and {{ is_funnel_event('lead_events.event') }}
            and {{ is_visible('lead_events') }}
        offset 0
    ) as events
    where
        known_before.occurred_at is null
        or (known_before.occurred_at, known_before.event_id)
        > (created.occurred_at, created.event_id)
{%- endmacro %}


{#
    The inbound messages that a new outbound message answers: those since the outbound message
    before it. Older ones have their answer already.
#}
{% macro touched__answered_messages() -%}
    select asked.client_id, asked.event_id, asked.occurred_at
    from (
        select distinct client_id, lead_id, occurred_at from new_rows
        where
            direction = 'outbound'
            and {{ is_increment() }}
    ) as answers
    cross join lateral (
        select max(earlier.occurred_at) as occurred_at
        from {{ ref('int_lead_events') }} as earlier
        where
            earlier.client_id = answers.client_id
            and earlier.lead_id = answers.lead_id
            and earlier.occurred_at < answers.occurred_at
            and earlier.direction = 'outbound'
            and {{ is_visible('earlier') }}
    ) as answer_before
    -- One answer at a time, by the index: that is what `offset 0` keeps the planner to.
    cross join lateral (
        select questions.client_id, questions.event_id, questions.occurred_at
        from {{ ref('int_lead_events') }} as questions
        where
            questions.client_id = answers.client_id
            and questions.lead_id = answers.lead_id
            and questions.occurred_at < answers.occurred_at
            and questions.occurred_at >= coalesce(answer_before.occurred_at, '-infinity')
            and questions.direction = 'inbound'
            and {{ is_visible('questions') }}
        offset 0
    ) as asked
{%- endmacro %}


{#
    The days of a lead's next stage change, which now comes from another stage, and of its next
    creation, which no longer adds the lead.
#}
{% macro touched__next_stage_changes() -%}
    select arrived.client_id, next_changes.occurred_on
    from (
        select distinct client_id, lead_id, occurred_on from new_rows
        where
            event in ('lead_created', 'lead_stage_changed')
            and {{ is_increment() }}
    ) as arrived
    cross join (values ('lead_created'), ('lead_stage_changed')) as kinds (event)
    cross join lateral (
        {{ next_of_lead('kinds.event', 'arrived') }}
    ) as next_changes
{%- endmacro %}


{#
    The days on which a lead is in the stage that a new row gives it: up to its next stage change
    and, after a creation, up to its next creation, which leaves it where it is.
#}
{% macro touched__days_in_stage() -%}
    select covered.client_id, days.date::date
    from (
        -- Each day once, however many leads of the client cover it.
        select
            staged.client_id,
            unnest(range_agg(daterange(
                staged.occurred_on,
                greatest(
                    staged.occurred_on,
                    coalesce(
                        least(next_change.occurred_on, next_creation.occurred_on),
                        {{ day_of(as_of()) }} + 1
                    )
                )
            ))) as span
        from (
            select distinct client_id, lead_id, event, occurred_on from new_rows
            where
                event in ('lead_created', 'lead_stage_changed')
                and {{ is_increment() }}
        ) as staged
        left join lateral (
            {{ next_of_lead("'lead_stage_changed'", 'staged') }}
        ) as next_change on true
        left join lateral (
            {{ next_of_lead("'lead_created'", 'staged') }}
        ) as next_creation on staged.event = 'lead_created'
        group by staged.client_id
    ) as covered
    cross join lateral generate_series(
        lower(covered.span)::timestamp,
        (upper(covered.span) - 1)::timestamp,
        interval '1 day'
    ) as days (date)
{%- endmacro %}


{#
    The day of a lead's next event of a kind, after a day of a row of it (`of`): one look-up by the
    index of the facts, however many events the lead has.
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
