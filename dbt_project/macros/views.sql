{#
    Views are replaced in place, and only when their text has changed. So views that analysts build
    on them survive, and a build does not wait for readers of an unchanged view.
#}
{% materialization view, adapter='postgres' %}

    {%- set target_relation = this.incorporate(type='view') -%}
    {%- set existing = load_cached_relation(this) -%}
    {%- set view_name = target_relation.schema ~ '.' ~ target_relation.identifier -%}
    {#- A mart shows only what its reader may see of its inputs; other views are read by marts alone. -#}
    {%- set options = 'with (security_invoker = true) ' if target_relation.schema == 'marts' else '' -%}
    {%- set digest = local_md5(options ~ without_database(sql)) -%}

    {% if existing is not none and not existing.is_view %}
        {% do exceptions.raise_compiler_error(
            this ~ ' is a table; drop or rename it, the project wants a view there'
        ) %}
    {% endif %}

    {% if existing is not none and view_digest(view_name) == digest %}
        {% call noop_statement('main', 'UNCHANGED') %}{% endcall %}
    {% else %}
        {{ run_hooks(pre_hooks, inside_transaction=False) }}
        {{ run_hooks(pre_hooks, inside_transaction=True) }}
        {% call statement('main') %}
            {{ get_assert_columns_equivalent(sql) if config.get('contract').enforced }}
            do $make_view$
            begin
                create or replace view {{ target_relation }} {{ options }}as (
                    {{ sql }}
                );
            exception when invalid_table_definition then
                -- Removed columns or changed types need a new view. If others build on the old
                -- one, dropping it fails and names them.
                drop view {{ target_relation }};
                create view {{ target_relation }} {{ options }}as (
                    {{ sql }}
                );
                -- Dropping the old view dropped its grants.
                perform warehouse.apply_access();
            end
            $make_view$;
            insert into warehouse.view_digests (view_name, digest)
            values ('{{ view_name }}', '{{ digest }}')
            on conflict (view_name) do update set digest = excluded.digest;
        {% endcall %}
        {{ run_hooks(post_hooks, inside_transaction=True) }}
        {{ adapter.commit() }}
        {{ run_hooks(post_hooks, inside_transaction=False) }}
    {% endif %}

    {{ return({'relations': [target_relation]}) }}

{% endmaterialization %}


{% macro view_digest(view_name) -%}
    {% set found = run_query(
        "select digest from warehouse.view_digests where view_name = '" ~ view_name ~ "'"
    ) %}
    {{ return(found.columns[0].values()[0] if found.rows | length else none) }}
{%- endmacro %}
