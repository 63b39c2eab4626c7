{#
    Who may read what, as marts and functions say it in their meta:

        access   analysts          they alone
                 client            tenants, too: the rows of their client
                 client_and_user   those of their client, or of their user there
                 user              those of their user
                 shared            of a view in intermediate: nobody's rows, which marts of tenants read

    What declares no access is for whoever builds alone (`builders`). A table or view in intermediate
    declares it where marts or functions of tenants read it. The database makes it so (warehouse.apply_access), here
    and in `warehouse init`, and alters nothing that is so already.
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
    A function's SQL is read when it is made, not when it is called: what it names is found whatever the
    caller's search path, and the database knows what it reads. It runs with the rights of who calls.
#}
{% macro postgres__scalar_function_sql(target_relation) -%}
    create or replace function {{ target_relation.render() }} ({{ formatted_scalar_function_args_sql() }})
    returns {{ model.returns.data_type }}
    language sql {{ scalar_function_volatility_sql() }}
    begin atomic
        {{ model.compiled_code }};
    end
{%- endmacro %}
