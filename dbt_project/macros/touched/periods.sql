{# Cells of later periods that depend on an event of an earlier one. #}

{# The period of each new row's `date`, and the period after it, which is compared with it. #}
{% macro touched__period_and_next(columns) -%}
    select {{ columns | join(', ') }}
    from (
        select
            new_rows.client_id,
            (new_rows.date + steps.later)::date as date
        from new_rows
        cross join (values (interval '0'), (interval '1 {{ period_of_cells() }}')) as steps (later)
    ) as compared
{%- endmacro %}


{#
    The period of the earliest new row, and every period since. The last column is of `start_on`, a
    period's first day; the columns before it say whose earliest row counts.
#}
{% macro touched__every_period_since(columns, where='true') -%}
    {% set unit = period_of_cells() %}
    {% set keys = columns[:-1] %}
    select {{ columns | join(', ') }}
    from (
        select {{ (keys + ['min(occurred_on) as first_on']) | join(', ') }}
        from new_rows
        where {{ where }}
        {{ 'group by ' ~ keys | join(', ') if keys }}
    ) as earliest
    cross join lateral generate_series(
        date_trunc('{{ unit }}', earliest.first_on::timestamp),
        {{ as_of() }} at time zone 'utc',
        interval '1 {{ unit }}'
    ) as periods (start_at)
    cross join lateral (select periods.start_at::date as start_on) as starts
{%- endmacro %}


{#
    The model's own cells of weeks or months that ended since the last build: they are complete now.
    Where none ended, which is known without reading a row, the model is not read.
#}
{% macro touched__ended_periods() -%}
    {% set unit = period_of_cells() %}
    select {{ model.config.meta.cells | join(', ') }} from {{ this }}
    where
        {{ is_increment() }}
        and {{ start_of(unit, day_of(from_as_of())) }} < {{ start_of(unit, day_of(as_of())) }}
        and {{ model.config.meta.window_on }} >= {{ start_of(unit, day_of(from_as_of())) }}
        and {{ model.config.meta.window_on }} < {{ start_of(unit, day_of(as_of())) }}
{%- endmacro %}


{# The days that began since the last build, from the first subscription on. #}
{% macro touched__new_days_with_subscriptions() -%}
    select days.date::date
    from generate_series(
        greatest(
            {{ day_of(from_as_of()) }} + 1,
            coalesce(
                (select min(started_on) from {{ ref('int_subscription_spells') }}),
                {{ day_of(as_of()) }} + 1
            )
        )::timestamp,
        {{ day_of(as_of()) }}::timestamp,
        interval '1 day'
    ) as days (date)
{%- endmacro %}


{#
    The days of users (`new_rows`), and of each user the next day and the next one of a conversion
    within conversion_days: the day from which they count may have changed.
#}
{% macro touched__days_of_users_and_next() -%}
    select distinct date from new_rows
    union all
    select next_days.date
    from new_rows
    cross join lateral (
        select
            min(user_days.date) as seen_on,
            min(user_days.date) filter (where user_days.has_converted) as converted_on
        from {{ ref('int_user_days') }} as user_days
        where
            user_days.user_id = new_rows.user_id
            and user_days.date > new_rows.date
            and user_days.date < new_rows.date + {{ var('conversion_days') }}
    ) as later
    cross join lateral (values (later.seen_on), (later.converted_on)) as next_days (date)
    where {{ is_increment() }} and next_days.date is not null
{%- endmacro %}


{# The days in whose window of conversion_days the users of a day (`new_rows`) count. #}
{% macro touched__days_of_conversion_windows() -%}
    select user_days.date + later.days - 1
    from (select distinct date from new_rows) as user_days
    cross join generate_series(1, {{ var('conversion_days') }}) as later (days)
{%- endmacro %}
