{# Few days, and cheap to recompute: the days whose figures differ from the mart's are touched. #}

{# The days whose counts of clients differ, new days included. #}
{% macro touched__days_of_changed_counts() -%}
    {% set counts = ['total_clients', 'active_clients', 'new_clients', 'churned_clients'] %}
    select coalesce(counts.date, known.date)
    from {{ client_counts() }}
    full join {{ this }} as known on counts.date = known.date
    where
        not {{ is_increment() }}
        or (counts.{{ counts | join(', counts.') }})
        is distinct from
        (known.{{ counts | join(', known.') }})
{%- endmacro %}


{# The days whose MRR differs, new days included. #}
{% macro touched__days_of_changed_mrr() -%}
    select coalesce(days.date, known.period_start)
    from {{ ref('platform_analytics') }} as days
    full join
        (select * from {{ this }} where metric_name = 'mrr') as known
        on days.date = known.period_start
    where
        not {{ is_increment() }}
        or days.mrr_cents * 0.01 is distinct from known.metric_value
{%- endmacro %}
