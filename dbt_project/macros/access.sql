{#
    Who may read what, as marts and functions declare it in their meta:

        access   analysts          analysts alone
                 client            tenants, too: the rows of their client
                 client_and_user   those of their client, or of their user there
                 user              those of their user
                 shared            for views in intermediate that marts of tenants read: rows of no tenant

    Without a declaration only the role of builds may read it (`builders`). A table or view in
    intermediate declares it where marts or functions of tenants read it. warehouse.apply_access
    grants this, here and in `warehouse init`, and changes only what differs.
#}
{% macro declare_access() -%}
    {% if execute and flags.WHICH in ['build', 'run'] %}
        {% set declared = [] %}
        {% for node in graph.nodes.values() | list + graph.functions.values() | list if node.resource_type in ['model', 'seed', 'function'] %}
            {% do declared.append({
                'schema_name': node.schema, 'name': node.name, 'access': node.config.meta.access or 'builders'
            }) %}
        {% endfor %}
        begin;
        with declared as (
            select * from jsonb_to_recordset({{ quoted(tojson(declared)) }}::jsonb)
                as declared (schema_name text, name text, access text)
        ),

        withdrawn as (
            delete from warehouse.access
            where (schema_name, name) not in (select schema_name, name from declared)
        )

        insert into warehouse.access as known (schema_name, name, access)
        select schema_name, name, access from declared
        on conflict (schema_name, name) do update set access = excluded.access
        where known.access <> excluded.access;
        select warehouse.apply_access();
        commit;
    {% else %}
        select 1
    {% endif %}
{%- endmacro %}


{#
    PostgreSQL parses the function's SQL when it is created, not when it is called: names do not
    depend on the caller's search path, and the database knows what it reads. It runs with the
    caller's grants.

    Citus can't plan such a query of its tables before the arguments are known, which PL/pgSQL does when
    it is called. That says nothing of what it reads, so a function of the same name in intermediate,
    which nobody calls, does (warehouse.apply_access).
#}
{% macro postgres__scalar_function_sql(target_relation) -%}
    {% set on_cluster = is_on_cluster() %}
    {% set parsed = target_relation.incorporate(path={'schema': 'intermediate'}) if on_cluster else target_relation %}
    create or replace function {{ parsed.render() }} ({{ formatted_scalar_function_args_sql() }})
    returns {{ model.returns.data_type }}
    language sql {{ scalar_function_volatility_sql() }}
    begin atomic
        {{ model.compiled_code }};
    end
    {%- if on_cluster %};
    create or replace function {{ target_relation.render() }} ({{ formatted_scalar_function_args_sql() }})
    returns {{ model.returns.data_type }}
    language plpgsql {{ scalar_function_volatility_sql() }} as $body$
    #variable_conflict use_column
    begin
        {% if model.returns.data_type.startswith('table') %}
        return query {{ model.compiled_code }};
        {% else %}
        return ({{ model.compiled_code }});
        {% endif %}
    end
    $body$
    {%- endif %}
{%- endmacro %}
