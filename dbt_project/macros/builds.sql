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
            {{ 'true' if flags.FULL_REFRESH else 'false' }},
            {{ quoted(env_var('WAREHOUSE_BUILD_CODE_DIGEST', '')) }}
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
            {% set tested = result.node.attached_node or (result.node.depends_on.nodes | first) or '' %}
            insert into warehouse.check_results (
                check_name, source, model, severity, passed, failures, detail, batch_seq, as_of
            )
            select
                {{ quoted('dbt.' ~ result.node.name) }},
                'dbt',
                {{ quoted(tested.split('.')[-1]) }},
                {{ quoted(result.node.config.severity | lower) }},
                {{ 'true' if result.status == 'pass' else 'false' }},
                {{ result.failures if result.failures is not none else 'null' }},
                {{ quoted(result.message or '') }},
                coalesce(o.batch_seq, (select coalesce(max(b.batch_seq), 0) from staging.event_batches as b)),
                nullif(o.as_of, 'infinity')
            from (values (1)) as one (row)
            left join warehouse.model_offsets as o on o.model = {{ quoted(tested.split('.')[-1]) }};
        {% endfor %}
        update warehouse.builds
        set
            state = '{{ 'failed' if results | selectattr('status', 'in', bad) | list else 'done' }}',
            ended_at = clock_timestamp()
        where invocation_id = '{{ invocation_id }}';
        delete from warehouse.touched_periods as t
        using warehouse.builds as b
        where t.invocation_id = b.invocation_id and b.started_at < now() - make_interval(days => {{ var('touched_periods_days') }});
        commit;
    {% else %}
        select 1
    {% endif %}
{%- endmacro %}


{# A text as an SQL literal, NULL where it is empty. #}
{% macro quoted(text) -%}
    {{ return("'" ~ (text | string | replace("'", "''")) ~ "'" if text else 'null') }}
{%- endmacro %}
