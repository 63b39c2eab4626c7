{#
    Of a producer's new sequence numbers: the first day that used each, which it is counted on. A
    new number also touches the day of the next greater one, because the gap before that gets
    smaller; a known number that an earlier day used touches both days. What was dropped touches the
    day that reports it.
#}
{% macro touched__days_of_sequence_numbers() -%}
    select {{ site_of('changed.producer') }}, days.date
    from (
        select
            numbers.producer,
            numbers.sequence,
            min(uses.occurred_on) as first_on,
            min(uses.occurred_on) filter (where {{ was_visible('uses') }}) as was_first_on
        from (select distinct producer, sequence from new_rows where {{ is_increment() }}) as numbers
        inner join {{ ref('int_sequence_uses') }} as uses
            on {{ same_producer('numbers', 'uses') }} and numbers.sequence = uses.sequence
        where {{ is_visible('uses') }}
        group by numbers.producer, numbers.sequence
    ) as changed
    left join lateral (
        select uses.occurred_on as first_on
        from {{ ref('int_sequence_uses') }} as uses
        where
            changed.was_first_on is null
            and {{ same_producer('changed', 'uses') }}
            and uses.sequence > changed.sequence
            and {{ is_visible('uses') }}
        order by uses.sequence, uses.occurred_on
        limit 1
    ) as next_number on true
    cross join lateral (
        values (changed.first_on), (changed.was_first_on), (next_number.first_on)
    ) as days (date)
    where changed.first_on is distinct from changed.was_first_on and days.date is not null
    union all
    select distinct {{ site_of('producer') }}, occurred_on from new_rows
    where is_erased or dropped > 0 or not {{ is_increment() }}
{%- endmacro %}


{# The batches of new events. #}
{% macro touched__batches_of_events() -%}
    select
        batches.received_on,
        batches.batch_seq
    from (select distinct batch_seq from new_rows) as unread
    inner join {{ ref('stg_event_batches') }} as batches on unread.batch_seq = batches.batch_seq
{%- endmacro %}
