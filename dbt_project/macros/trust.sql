{# What shows whether marts can be trusted. #}

{#
    Every mart with the models whose offsets are its own: itself, or for a view those that it reads.
#}
{% macro marts_and_models() -%}
    {% set pairs = [] %}
    {% if execute %}
        {% for node in graph.nodes.values() if node.resource_type == 'model' and node.schema == 'marts' %}
            {% set is_view = node.config.materialized == 'view' %}
            {% for model in (upstream_models(node) if is_view else [node.name]) %}
                {% do pairs.append("('" ~ node.name ~ "', '" ~ model ~ "')") %}
            {% endfor %}
        {% endfor %}
    {% endif %}
    (values {{ pairs | sort | join(', ') or "('', '')" }})
{%- endmacro %}


{# The models that have a test: the one that finish_build records its result for. #}
{% macro models_with_tests() -%}
    {% set found = [] %}
    {% if execute %}
        {% for node in graph.nodes.values() if node.resource_type == 'test' %}
            {% do found.append("('" ~ tested_model(node) ~ "')") %}
        {% endfor %}
    {% endif %}
    (values {{ found | unique | sort | join(', ') or "('')" }})
{%- endmacro %}


{#
    Records published figures of closed periods that a mart is about to replace by `source`. A mart
    whose published figures people rely on declares this in its meta:

        restated    client: the column of the tenant ('none' without), period: that of the period,
                    closes_at: when that ends, of_entities: figures that depend on entities
#}
{% macro note_restatements_sql(source, cells_table) -%}
    {% set meta = model.config.meta %}
    {% set restated = meta.restated %}
    {% set same_cell = [] %}
    {% for cell in meta.cells %}{% do same_cell.append('old.' ~ cell ~ ' = new.' ~ cell) %}{% endfor %}
    insert into warehouse.restatements (mart, client_id, period, old_values, new_values, cause, run)
    select
        '{{ model.name }}',
        {{ 'old.' ~ restated.client if restated.client else "'none'" }},
        old.{{ restated.period }}::text,
        differences.old_values,
        differences.new_values,
        case
            when {{ is_past_erasure() }} then 'erasure'
            when not {{ is_increment() }} then 'rebuild'
            when
                -- Entities decide whether there is a row at all, and these figures.
                (new.{{ meta.cells[0] }} is null or differences.names <@ array['{{ restated.of_entities | join("', '") }}']::text [])
                and exists (
                    select 1 from staging.event_batches as batches
                    where
                        batches.kind = 'clients'
                        and batches.batch_seq > {{ from_batch() }}
                        and batches.batch_seq <= {{ to_batch() }}
                )
                then 'entity change'
            else 'late events'
        end,
        current_setting('warehouse.invocation')
    from (
        select * from {{ this }}
        where
            -- It had ended when it was published, and has ended now.
            {{ restated.closes_at }} <= {{ as_of() }}
            and {{ restated.closes_at }} <= (select as_of from warehouse.model_offsets where model = '{{ model.name }}')
            and (
                {{ is_in(meta.cells, cells_table) }}
                or (current_setting('warehouse.mode') = 'window' and {{ in_window(meta.window_on) }})
            )
        -- Read apart from the rest, which a cluster can't do where the rows are.
        offset 0
    ) as old
    left join {{ source }} as new on {{ same_cell | join(' and ') }}
    cross join lateral (
        select
            array_agg(figures.name) as names,
            jsonb_object_agg(figures.name, figures.value) as old_values,
            case
                when new.{{ meta.cells[0] }} is not null
                    then jsonb_object_agg(figures.name, to_jsonb(new) -> figures.name)
            end as new_values
        -- These say how and when the row came about, and are no figures.
        from jsonb_each(to_jsonb(old) - array['updated_at', 'is_complete']) as figures (name, value)
        where figures.value is distinct from to_jsonb(new) -> figures.name
    ) as differences
    where
        differences.names is not null
        {% if restated.client %}
        -- Nothing is recorded of an erased client, not even the old figures.
        and not (
            {{ is_past_erasure() }}
            and new.{{ meta.cells[0] }} is null
            and old.{{ restated.client }} not in (select client_id from {{ ref('int_clients') }})
        )
        {% endif %}
{%- endmacro %}
