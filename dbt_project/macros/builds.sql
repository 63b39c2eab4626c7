{#
    The build's as_of and window are read from the environment while it runs: read at parse time,
    every change of them would make dbt parse the whole project again.
#}
{% macro pin_build() -%}
    {% if execute and flags.WHICH in ['build', 'run'] %}
        {{ check_declared_columns() }}
        {% set given = namespace(values=[]) %}
        {% for name, type in [
            ('WAREHOUSE_BUILD_AS_OF', 'timestamptz'),
            ('WAREHOUSE_BUILD_START', 'date'),
            ('WAREHOUSE_BUILD_END', 'date'),
        ] %}
            {% do given.values.append(quoted(env_var(name, '')) ~ '::' ~ type) %}
        {% endfor %}
        begin;
        select staging.take_statistics();
        commit;
        begin;
        select warehouse.pin_build(
            '{{ invocation_id }}', {{ given.values | join(', ') }},
            {{ 'true' if flags.FULL_REFRESH else 'false' }}
        );
        {% if invocation_args_dict.select %}
        update warehouse.builds
        set models = array[{{ "'" ~ selected_models() | join("', '") ~ "'" if selected_models() }}]::text []
        where invocation_id = '{{ invocation_id }}';
        {% endif %}
        {% if env_var('WAREHOUSE_BUILD_ALLOWS_LOST_EVENTS', '') %}
        update warehouse.builds set allows_lost_events = true
        where invocation_id = '{{ invocation_id }}';
        {% endif %}
        commit;
    {% else %}
        select 1
    {% endif %}
{%- endmacro %}


{% macro selected_models() -%}
    {% set found = [] %}
    {% for unique_id in selected_resources if unique_id.startswith('model.') %}
        {% do found.append(unique_id.split('.')[-1]) %}
    {% endfor %}
    {{ return(found | sort) }}
{%- endmacro %}


{# Records how the build ended and the results of its tests: a failure blocks the export. #}
{% macro finish_build(results) -%}
    {% if execute and flags.WHICH in ['build', 'run', 'test'] %}
        {% set bad = ['error', 'fail', 'runtime error', 'skipped', 'partial success'] %}
        begin;
        {% for result in results if result.node.resource_type == 'test' and result.status != 'skipped' %}
            insert into warehouse.check_results (
                check_name, source, model, severity, passed, failures, detail, batch_seq, as_of
            )
            select
                {{ quoted('dbt.' ~ result.node.name) }},
                'dbt',
                {{ quoted(tested_model(result.node)) }},
                {{ quoted(result.node.config.severity | lower) }},
                {{ 'true' if result.status == 'pass' else 'false' }},
                {{ result.failures if result.failures is not none else 'null' }},
                {{ quoted(result.message or '') }},
                coalesce(o.batch_seq, (select coalesce(max(b.batch_seq), 0) from staging.event_batches as b)),
                nullif(o.as_of, 'infinity')
            from (values (1)) as one (row)
            left join warehouse.model_offsets as o on o.model = {{ quoted(tested_model(result.node)) }};
        {% endfor %}
        {% if flags.WHICH == 'build' %}{{ note_compiled(results) }}{% endif %}
        select warehouse.finish_build(
            '{{ invocation_id }}', '{{ 'failed' if results | selectattr('status', 'in', bad) | list else 'done' }}'
        );
        commit;
    {% else %}
        select 1
    {% endif %}
{%- endmacro %}


{#
    Records what dbt ran with this code, and the queries of the tests, so that the next build can do
    without dbt (warehouse.why_dbt).
#}
{% macro note_compiled(results) -%}
    {% set digest = quoted(env_var('WAREHOUSE_BUILD_CODE_DIGEST', '')) %}
    {% set nodes = [] %}
    {% for unique_id in selected_resources if unique_id in graph.nodes or unique_id in graph.functions %}
        {% set node = graph.nodes[unique_id] or graph.functions[unique_id] %}
        {% set has_relation = node.resource_type in ['model', 'seed'] %}
        {% do nodes.append({'node': node.name, 'relation': node.schema ~ '.' ~ node.name if has_relation else none}) %}
    {% endfor %}
    {% set done = [] %}
    {% for result in results if result.status in ['success', 'pass', 'warn', 'fail'] %}
        {% do done.append(result.node.name) %}
        {% if result.node.resource_type == 'test' %}{{ store_test(result.node, digest) }}{% endif %}
    {% endfor %}
    insert into warehouse.compiled_nodes (node, relation)
    select node, relation
    from jsonb_to_recordset({{ quoted(tojson(nodes)) }}::jsonb) as selected (node text, relation text)
    on conflict (node) do update set relation = excluded.relation;
    update warehouse.compiled_nodes set code_digest = {{ digest }} where node = any({{ text_array(done) }});
    {% if not invocation_args_dict.select %}
    delete from warehouse.compiled_nodes
    where node not in (select node from jsonb_to_recordset({{ quoted(tojson(nodes)) }}::jsonb) as selected (node text));
    delete from warehouse.stored_tests where test not in (select node from warehouse.compiled_nodes);
    delete from warehouse.stored_models where model not in (select node from warehouse.compiled_nodes);
    {% endif %}
{%- endmacro %}


{% macro store_test(node, digest) -%}
    insert into warehouse.stored_tests (test, code_digest, model, models, severity, failing_rows, outcome)
    values (
        {{ quoted(node.name) }},
        {{ digest }},
        {{ quoted(tested_model(node)) }},
        {{ text_array(upstream_models(node)) }},
        {{ quoted(node.config.severity | lower) }},
        {{ quoted(without_database(node.compiled_code) | trim) }},
        {{ quoted(get_test_sql(
            get_limit_subquery_sql(without_database(node.compiled_code), node.config.limit),
            node.config.fail_calc, node.config.warn_if, node.config.error_if, limit=none
        )) }}
    )
    on conflict (test) do update set
        code_digest = excluded.code_digest,
        model = excluded.model,
        models = excluded.models,
        severity = excluded.severity,
        failing_rows = excluded.failing_rows,
        outcome = excluded.outcome;
{%- endmacro %}


{# The model that a test is of. #}
{% macro tested_model(node) -%}
    {{ return((node.attached_node or (node.depends_on.nodes | first) or '').split('.')[-1]) }}
{%- endmacro %}


{#
    SQL without the name of the database, which dbt writes before every schema: what is stored also
    runs in a database that was renamed, or restored under another name.
#}
{% macro without_database(text) -%}
    {% set found = namespace(text=text) %}
    {% set nodes = graph.nodes.values() | list + graph.sources.values() | list %}
    {% for schema in nodes | map(attribute='schema') | unique | sort %}
        {% set qualified = '"' ~ schema ~ '"."' %}
        {% set found.text = found.text | replace('"' ~ target.database ~ '".' ~ qualified, qualified) %}
    {% endfor %}
    {{ return(found.text) }}
{%- endmacro %}


{# A text as an SQL literal, NULL where it is empty. #}
{% macro quoted(text) -%}
    {{ return("'" ~ (text | string | replace("'", "''")) ~ "'" if text else 'null') }}
{%- endmacro %}
