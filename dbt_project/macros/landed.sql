{#
    The events that have landed, of these names or all, each with its batch and its UTC day: the
    input of every staging model of events.
#}
{% macro landed_events(names=none) -%}
    (
        select
            raw_events.*,
            batches.batch_seq,
            raw_events."timestamp" as occurred_at,
            {{ day_of('raw_events."timestamp"') }} as occurred_on
        from {{ source('staging', 'raw_events') }} as raw_events
        inner join
            {{ source('staging', 'event_batches') }} as batches
            on raw_events.batch_id = batches.batch_id
        {% if names %}
        where raw_events.event in ('{{ names | join("', '") }}')
        {% endif %}
    ) as landed_events
{%- endmacro %}
