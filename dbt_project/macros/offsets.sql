{#
    The offset protocol around every incremental model. In one transaction: begin_model locks the
    model, decides what it reads and lists the cells that this touches; the strategy replaces them;
    end_model moves the offset. The database decides (warehouse.begin_model); the model's SQL reads
    the decisions from transaction-local settings, so that its text never changes.
#}
{% macro begin_model() -%}
    {% if not execute %}
        {{ check_declaration() }}
    {% elif config.get('materialized') == 'incremental' %}
        {% set is_new = load_cached_relation(this) is none %}
        set local work_mem = '{{ var('build_work_mem') }}';
        select warehouse.begin_model(
            '{{ model.name }}',
            '{{ invocation_id }}',
            '{{ model_checksum() }}',
            array[{{ "'" ~ upstream_models(model) | join("', '") ~ "'" if upstream_models(model) }}]::text [],
            {{ 'true' if is_fact() else 'false' }},
            {{ 'true' if is_new else 'false' }},
            {{ 'true' if model.config.meta.holds_every_event else 'false' }}
        );
        {% if not is_new %}{{ follow_declaration(is_written=false) }}{% endif %}
        {% if model.config.meta.cells %}{{ list_touched_cells(is_new) }}{% endif %}
    {% endif %}
{%- endmacro %}


{% macro end_model() -%}
    {% if execute and config.get('materialized') == 'incremental' %}
        {{ follow_declaration(is_written=true) }}
        select warehouse.end_model('{{ model.name }}', '{{ model_checksum() }}', '{{ this }}');
        {{ note_what_was_written() }}
        {% if model.config.meta.time_dependent %}
            insert into warehouse.time_dependent_models (model, statements)
            values (
                '{{ model.name }}',
                array[
                    {%- for statement in replace_rows_sql(
                        this, '(' ~ model.compiled_code ~ ')', adapter.get_columns_in_relation(this)
                    ) %}
                    {{ quoted(statement) }}{{ ',' if not loop.last }}
                    {%- endfor %}
                ]
            )
            on conflict (model) do update set statements = excluded.statements;
        {% endif %}
    {% endif %}
{%- endmacro %}


{# Records, for monitoring, how many rows of the model this build has written. #}
{% macro note_what_was_written() -%}
    insert into warehouse.touched_periods (invocation_id, model, rows_written, from_batch, to_batch)
    select
        '{{ invocation_id }}',
        o.model,
        case
            when current_setting('warehouse.mode') = 'full' then o.row_count
            else pg_stat_get_xact_tuples_inserted('{{ this }}'::regclass)
        end,
        {{ from_batch() }},
        {{ to_batch() }}
    from warehouse.model_offsets as o
    where
        o.model = '{{ model.name }}'
        and (
            current_setting('warehouse.mode') = 'full'
            or pg_stat_get_xact_tuples_inserted('{{ this }}'::regclass) > 0
            or pg_stat_get_xact_tuples_deleted('{{ this }}'::regclass) > 0
        );
    {%- if model.config.meta.window_on %}
    insert into warehouse.touched_periods
        (invocation_id, model, period_start, rows_written, from_batch, to_batch)
    select '{{ invocation_id }}', '{{ model.name }}', written.period_start, count(*), {{ from_batch() }}, {{ to_batch() }}
    from (select {{ model.config.meta.window_on }} as period_start from {{ this }}) as written
    where current_setting('warehouse.mode') = 'full'
    group by written.period_start;
    {%- endif %}
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
    {{ return(local_md5(
        ([model.compiled_code] + cells + seed_checksums(model) + built_from.columns[0].values() | list) | join(' ')
    )) }}
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
