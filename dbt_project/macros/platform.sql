{# What the marts of the platform share. #}

{#
    How many clients there are at the end of every day of the platform's span, and how many were
    created and churned on it. Clients and days are few, so the whole span is always computed.
#}
{% macro client_counts() -%}
    (
        select
            days.date::date as date,
            sum(coalesce(sum(moves.came), 0)) over until_the_days_end::bigint as total_clients,
            sum(coalesce(sum(moves.came - moves.ceased), 0)) over until_the_days_end::bigint as active_clients,
            coalesce(sum(moves.came), 0)::bigint as new_clients,
            coalesce(sum(moves.went), 0)::bigint as churned_clients
        from generate_series(
            (select min(first_on) from {{ ref('int_clients') }})::timestamp,
            {{ day_of(as_of()) }}::timestamp,
            interval '1 day'
        ) as days (date)
        left join (
            select {{ day_of('created_at') }} as date, 1 as came, 0 as went, 0 as ceased
            from {{ ref('int_clients') }}
            union all
            select {{ day_of('churned_at') }}, 0, 1, 0
            from {{ ref('int_clients') }}
            where churned_at is not null
            union all
            -- A client that churned before it was created was never active.
            select greatest({{ day_of('churned_at') }}, {{ day_of('created_at') }}), 0, 0, 1
            from {{ ref('int_clients') }}
            where churned_at is not null
        ) as moves on days.date = moves.date
        group by days.date
        window until_the_days_end as (order by days.date)
    ) as counts
{%- endmacro %}
