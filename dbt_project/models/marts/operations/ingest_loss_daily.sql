{#
    A number counts on the first day that used it, together with the gap before it. A producer's
    name can be of any length: its hash is indexed.
#}
{{ config(indexes=[{'columns': ['date', hashed('producer')], 'unique': true}]) }}

with

-- `not materialized`: looked up by its index, once per row.
uses as not materialized (
    select * from {{ ref('int_sequence_uses') }}
    where {{ is_visible() }}
),

used_numbers as (
    select
        producer,
        "sequence",
        occurred_on,
        max(dropped) as dropped
    from uses
    where
        {{ in_touched('occurred_on', 'date') }}
        and {{ in_touched_cells([site_of('producer'), 'occurred_on']) }}
    group by producer, "sequence", occurred_on
),

-- Each number on its first day only, and how many are missing before it.
numbers as (
    select
        {{ site_of('used_numbers.producer') }} as producer,
        used_numbers.occurred_on as date,
        used_numbers.dropped,
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
        select 1 from uses
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
        sum(dropped)::bigint as dropped,
        {{ pct2('sum(gap)', 'count(*) + sum(gap)') }} as loss_percent,
        now() as updated_at
    from numbers
    group by producer, date
)

select * from losses
