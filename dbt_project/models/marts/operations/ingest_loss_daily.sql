{#
    A number counts on the first of the days that used it, and the hole before it with it. So a new
    number touches its day and that of the next greater one, whose hole it makes smaller; a known
    one that is seen on an earlier day touches both days.
#}
{{
    config(
        meta={
            'cells': ['producer', 'date'],
            'touched_by': {
                'int_sequence_uses': "
                    select changed.producer, days.date
                    from (
                        select
                            numbers.producer,
                            numbers.sequence,
                            min(uses.occurred_on) as first_on,
                            min(uses.occurred_on) filter (where {{ was_visible('uses') }}) as was_first_on
                        from (select distinct producer, sequence from new_rows) as numbers
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
                    select producer, occurred_on from new_rows
                    where is_erased
                ",
            },
            'window_on': 'date',
        },
        indexes=[{'columns': ['date', hashed('producer')], 'unique': true}],
    )
}}

with

-- Looked up by its index, as often as it takes.
uses as not materialized (
    select * from {{ ref('int_sequence_uses') }}
    where {{ is_visible() }}
),

used_numbers as (
    select distinct
        producer,
        "sequence",
        occurred_on
    from uses
    where
        {{ in_touched('occurred_on', 'date') }}
        and {{ in_touched_cells(['producer', 'occurred_on']) }}
),

-- Each number on its first day alone, and how many are missing before it.
numbers as (
    select
        used_numbers.producer,
        used_numbers.occurred_on as date,
        coalesce(used_numbers."sequence" - number_before."sequence" - 1, 0) as gap
    from used_numbers
    left join lateral (
        select uses."sequence" from uses
        where
            {{ same_producer('used_numbers', 'uses') }}
            and uses."sequence" < used_numbers."sequence"
        order by uses."sequence" desc
        limit 1
    ) as number_before on true
    where not exists (
        select from uses
        where
            {{ same_producer('used_numbers', 'uses') }}
            and uses."sequence" = used_numbers."sequence"
            and uses.occurred_on < used_numbers.occurred_on
    )
),

losses as (
    select
        producer,
        date,
        count(*) as events_seen,
        sum(gap)::bigint as gaps,
        {{ pct2('sum(gap)', 'count(*) + sum(gap)') }} as loss_percent,
        now() as updated_at
    from numbers
    group by producer, date
)

select * from losses
