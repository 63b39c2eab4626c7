{#
    Every incremental model: dbt compiles its statements and stores them in warehouse.stored_models, and
    warehouse.run_model executes them in one transaction. A build for which the code is the same calls
    that function alone, without dbt. The text of the statements is the same in every build: what to read
    is in transaction-local settings (warehouse.begin_model).

    dbt's own materialization would fill a temporary table first and write each row twice.
#}
{% materialization incremental, adapter='postgres' %}

    {%- set existing = load_cached_relation(this) -%}
    {%- set target_relation = this.incorporate(type='table') -%}
    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}
    {% if existing is none %}
        {% do run_query('create table ' ~ this ~ ' ' ~ columns_of_new_table()) %}
        {% do place_new_table() %}
    {% endif %}
    {% do run_query(store_model()) %}
    {% do check_columns_of_sql() %}
    {% call statement('main') %}
        {% if existing is not none %}{{ follow_declaration(is_written=false) }}{% endif %}
        select warehouse.run_model('{{ invocation_id }}', '{{ model.name }}', {{ 'true' if existing is none else 'false' }});
        {{ follow_declaration(is_written=true) }}
    {% endcall %}
    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {{ adapter.commit() }}
    {{ run_hooks(post_hooks, inside_transaction=False) }}

    {{ return({'relations': [target_relation]}) }}

{% endmaterialization %}


{#
    Compares the columns of the model's SQL with its contract. The SQL reads settings that begin_model
    makes, and may read the touched cells, so an empty table of them is there meanwhile.
#}
{% macro check_columns_of_sql() -%}
    {% do run_query(
        "select warehouse.begin_model(m, '" ~ invocation_id ~ "', false) "
        ~ "from warehouse.stored_models as m where m.model = '" ~ model.name ~ "'"
    ) %}
    {% if model.config.meta.cells %}
        {% do run_query(
            'create temporary table touched_' ~ model.name ~ ' as select '
            ~ model.config.meta.cells | join(', ') ~ ' from ' ~ this ~ ' limit 0'
        ) %}
    {% endif %}
    {% set rows_sql = model.compiled_code %}
    {% if is_by_client() %}
        {% set rows_sql = run_query(
            "select warehouse.rows_of_client(m, '') from warehouse.stored_models as m where m.model = '" ~ model.name ~ "'"
        ).columns[0].values()[0] %}
    {% endif %}
    {{ get_assert_columns_equivalent(rows_sql) }}
    {% if model.config.meta.cells %}{% do run_query('drop table ' ~ touched_table()) %}{% endif %}
{%- endmacro %}


{% macro store_model() -%}
    {% set meta = model.config.meta %}
    {% set values = {
        'model': quoted(model.name),
        'relation': quoted(this.include(database=false)),
        'code_digest': quoted(env_var('WAREHOUSE_BUILD_CODE_DIGEST', '')),
        'checksum': quoted(model_checksum()),
        'upstream': text_array(upstream_models(model)),
        'inputs': text_array(inputs_of_model()),
        'is_fact': 'true' if is_fact() else 'false',
        'is_time_dependent': 'true' if meta.time_dependent else 'false',
        'holds_every_event': 'true' if meta.holds_every_event else 'false',
        'list_cells': statements(
            ["select warehouse.set_locally('" ~ tojson({'work_mem': var('build_work_mem')}) ~ "')"]
            + (list_cells_sql() if meta.cells else [])
        ),
        'replace_rows': statements(replace_rows_sql()),
        'rewrite_rows': statements(rewrite_rows_sql()),
        'fill_rows': statements(fill_rows_sql()),
        'rows_of_cells': quoted(without_database(model.compiled_code)),
        'cells': text_array(meta.cells or []),
        'drawn_on': quoted(meta.linked_cells_on or meta.window_on or ''),
        'has_linked_cells': 'true' if meta.linked_cells_on else 'false',
        'figures': text_array(figures_of_model()),
        'by_client': 'true' if is_by_client() else 'false',
    } %}
    insert into warehouse.stored_models ({{ values.keys() | join(', ') }})
    values ({{ values.values() | join(', ') }})
    on conflict (model) do update set
        {%- for column in values if column != 'model' %}
        {{ column }} = excluded.{{ column }}{{ ',' if not loop.last }}
        {%- endfor %};
{%- endmacro %}


{% macro statements(texts) -%}
    {% set found = [] %}
    {% for text in texts %}{% do found.append(without_database(text)) %}{% endfor %}
    {{ return(text_array(found)) }}
{%- endmacro %}


{% macro text_array(texts) -%}
    {% set literals = [] %}
    {% for text in texts %}{% do literals.append(quoted(text)) %}{% endfor %}
    {{ return('array[' ~ literals | join(', ') ~ ']::text []') }}
{%- endmacro %}


{#
    What can give the model unread input (warehouse.models_with_unread_input): the upstream models that
    its cells are declared by, or everything that it reads if it has no cells; for a view the tables of
    staging behind it.
#}
{% macro inputs_of_model() -%}
    {% set found = [] %}
    {% if model.config.meta.cells %}
        {% for upstream in model.config.meta.touched_by %}
            {% do found.extend(inputs_through(graph.nodes['model.' ~ project_name ~ '.' ~ upstream])) %}
        {% endfor %}
    {% else %}
        {% for unique_id in model.depends_on.nodes if unique_id in graph.nodes %}
            {% do found.extend(inputs_through(graph.nodes[unique_id])) %}
        {% endfor %}
    {% endif %}
    {{ return(found | unique | sort) }}
{%- endmacro %}


{% macro inputs_through(node) -%}
    {% if node.config.materialized == 'incremental' %}{{ return([node.name]) }}{% endif %}
    {% set found = [] %}
    {% set ledger = 'staging.event_batches' %}
    {% for unique_id in node.depends_on.nodes %}
        {% if unique_id in graph.sources %}
            {% do found.append(graph.sources[unique_id].schema ~ '.' ~ graph.sources[unique_id].name) %}
        {% elif unique_id in graph.nodes %}
            {% do found.extend(inputs_through(graph.nodes[unique_id])) %}
        {% endif %}
    {% endfor %}
    {# Beside another table the ledger only tells the number of each row's batch. #}
    {{ return(found | reject('equalto', ledger) | list or found) }}
{%- endmacro %}


{# A typed fact has every event, visible or not: models that read it decide what is visible. #}
{% macro is_fact() -%}
    {{ return(config.get('incremental_strategy') == 'append_new') }}
{%- endmacro %}


{#
    The incremental models that a model reads, directly or through views.
#}
{% macro upstream_models(node) -%}
    {% set found = [] %}
    {% for unique_id in node.depends_on.nodes %}
        {% set upstream = graph.nodes.get(unique_id) %}
        {% if upstream and upstream.resource_type == 'model' %}
            {% if upstream.config.materialized == 'incremental' %}
                {% do found.append(upstream.name) %}
            {% else %}
                {% do found.extend(upstream_models(upstream)) %}
            {% endif %}
        {% endif %}
    {% endfor %}
    {{ return(found | unique | sort) }}
{%- endmacro %}


{#
    A digest of the model's SQL and of what it is built from, as stored in the database: the texts
    of views, the checksums of models and of seeds. It is made of rendered SQL, so it covers macros.
    When it changes, the model's rows no longer follow from its offset, and the model is rebuilt.
#}
{% macro model_checksum() -%}
    {% set built_from = run_query(
        "select digest from warehouse.view_digests where view_name = any(array['"
        ~ upstream_views(model) | join("', '") ~ "']) union all "
        ~ "select checksum from warehouse.model_offsets where model = any(array['"
        ~ upstream_models(model) | join("', '") ~ "']) order by 1"
    ) %}
    {# Of the declaration only the cells, as rendered: no other part of it affects rows. #}
    {% set cells = [model.config.meta.cells | default([]) | join(', ')] %}
    {% for upstream, declared in (model.config.meta.touched_by or {}).items() %}
        {% do cells.append(upstream ~ ': ' ~ cells_touched_by(upstream, declared)) %}
    {% endfor %}
    {{ return(local_md5(without_database(
        ([model.compiled_code] + cells + seed_checksums(model) + built_from.columns[0].values() | list) | join(' ')
    ))) }}
{%- endmacro %}


{# The checksums of the seeds that a model reads directly. #}
{% macro seed_checksums(node) -%}
    {% set found = [] %}
    {% for unique_id in node.depends_on.nodes | sort if unique_id.startswith('seed.') %}
        {% do found.append(graph.nodes[unique_id].checksum.checksum) %}
    {% endfor %}
    {{ return(found) }}
{%- endmacro %}


{# The views between a model and the incremental models that it reads, by schema and name. #}
{% macro upstream_views(node) -%}
    {% set found = [] %}
    {% for unique_id in node.depends_on.nodes %}
        {% set upstream = graph.nodes.get(unique_id) %}
        {% if upstream and upstream.config.materialized == 'view' %}
            {% do found.append(upstream.schema ~ '.' ~ upstream.alias) %}
            {% do found.extend(upstream_views(upstream)) %}
        {% endif %}
    {% endfor %}
    {{ return(found | unique | sort) }}
{%- endmacro %}
