{# More than one machine: what differs on a cluster (docs/scaling.md). #}

{# Whether events are spread over the workers of a cluster. #}
{% macro is_on_cluster() -%}
    {% if not execute %}{{ return(false) }}{% endif %}
    {{ return(run_query("select warehouse.is_distributed('staging.raw_events')").columns[0].values()[0]) }}
{%- endmacro %}


{# Whether the model's rows are computed one client at a time, as its meta declares for a cluster. #}
{% macro is_by_client() -%}
    {{ return((model.config.meta.by_client or false) and is_on_cluster()) }}
{%- endmacro %}


{#
    Spreads a new table over the workers by its client, where each of its rows and keys has one. Other
    tables stay on the coordinator: their rows are sums over clients.
#}
{% macro place_new_table() -%}
    {% if 'client_id' in (model.config.meta.cells or key_of_rows()) %}
        {% do run_query("select warehouse.distribute('" ~ this.include(database=false) ~ "')") %}
    {% endif %}
{%- endmacro %}


{#
    Joins each row of `touched` with the least (or `max`) value of a column among the events with its
    key. One server looks up each by the index, however long its history is. The workers of a cluster
    read all events of these keys once.
#}
{% macro left_join_bound(alias, events, key, column, bound='min', in_order_of=none) -%}
    {% if is_on_cluster() %}
    left join (
        select
            {{ key }},
            {{ bound }}({{ column }}) as {{ column }}
        from {{ events }}
        where {{ key }} in (select {{ key }} from touched)
        group by {{ key }}
    ) as {{ alias }} on touched.{{ key }} = {{ alias }}.{{ key }}
    {% else %}
    left join lateral (
        select {{ events }}.{{ column }} from {{ events }}
        where {{ events }}.{{ key }} = touched.{{ key }}
        order by {{ events }}.{{ in_order_of or column }} {{ 'desc' if bound == 'max' }}
        limit 1
    ) as {{ alias }} on true
    {% endif %}
{%- endmacro %}
