{#
    Cells of dense marts, that is of marts with a row for every client and period of its span. The
    period is that of the mart (`period` in its meta, a day by default), and `start_on` its first
    day.
#}

{#
    From new rows of int_clients: the periods that began since the last build and, of changed
    clients, those that entered the span or left it. `and_next` adds the period after each, for
    marts that compare a period with the one before.
#}
{% macro touched__periods_of_span(columns, and_next=false) -%}
    {% set unit = period_of_cells() %}
    {% set known_start = model.config.meta.window_on %}
    select {{ columns | join(', ') }}
    from (
        select
            periods.client_id,
            (periods.start_on + steps.later)::date as start_on
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
            union all
            (
                select client_id, start_on from {{ periods_of_changed_clients(unit) }}
                except all
                select client_id, {{ known_start }} from {{ this }}
            )
            union all
            (
                select client_id, {{ known_start }} from {{ this }}
                where client_id in (select client_id from new_rows)
                except all
                select client_id, start_on from {{ periods_of_changed_clients(unit) }}
            )
        ) as periods
        cross join (
            values (interval '0'){{ ", (interval '1 " ~ unit ~ "')" if and_next }}
        ) as steps (later)
    ) as touched_periods
{%- endmacro %}


{# Of changed clients (`new_rows`) the first days of all periods that their span touches. #}
{% macro periods_of_changed_clients(unit) -%}
    (
        select
            spans.client_id,
            starts.start_on::date as start_on
        from {{ client_spans('(select * from new_rows where not is_erased) as remaining') }} as spans
        cross join lateral generate_series(
            date_trunc('{{ unit }}', spans.first_on::timestamp),
            spans.last_on::timestamp,
            interval '1 {{ unit }}'
        ) as starts (start_on)
        -- A week or month may start before a span that ends before it starts.
        where spans.first_on <= spans.last_on
    ) as periods_of_changed_clients
{%- endmacro %}


{# All rows of clients (`new_rows`) that no longer exist. #}
{% macro touched__rows_of_removed_clients(columns) -%}
    select {{ columns | join(', ') }} from {{ this }}
    where
        client_id in (
            select client_id from new_rows
            except
            select client_id from {{ ref('int_clients') }}
        )
{%- endmacro %}


{# All clients, when a month has begun since the last build. #}
{% macro touched__clients_in_a_new_month() -%}
    select client_id from {{ ref('int_clients') }}
    where
        {{ start_of('month', day_of(from_as_of())) }}
        < {{ start_of('month', day_of(as_of())) }}
{%- endmacro %}
