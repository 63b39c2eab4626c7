{#
    Writes the descriptions of models, columns and functions into the database as comments, which BI
    tools show. dbt's persist_docs would write each of a thousand comments in every build, and skip
    functions; warehouse.follow_descriptions writes only those that differ.
#}
{% macro write_descriptions() -%}
    {% if execute and flags.WHICH in ['build', 'run'] %}
        {% set described = [] %}
        {% for node in graph.nodes.values() if node.resource_type in ['model', 'seed'] %}
            {% set columns = {} %}
            {% for column in node.columns.values() %}
                {% do columns.update({column.name: column.description | trim or none}) %}
            {% endfor %}
            {% do described.append({
                'schema_name': node.schema, 'name': node.name, 'is_function': false,
                'description': node.description | trim or none, 'columns': columns,
            }) %}
        {% endfor %}
        {% for function in graph.functions.values() %}
            {% do described.append({
                'schema_name': function.schema, 'name': function.name, 'is_function': true,
                'description': description_of_function(function),
            }) %}
        {% endfor %}
        begin;
        select warehouse.follow_descriptions({{ quoted(tojson(described)) }}::jsonb);
        commit;
    {% else %}
        select 1
    {% endif %}
{%- endmacro %}


{# PostgreSQL has no comments on arguments and results: they are lines of the function's. #}
{% macro description_of_function(function) -%}
    {% set lines = [function.description | trim] %}
    {% for argument in function.arguments %}
        {% do lines.append(argument.name ~ ': ' ~ argument.description | trim) %}
    {% endfor %}
    {% do lines.append('Returns: ' ~ function.returns.description | trim) %}
    {{ return(lines | join('\n')) }}
{%- endmacro %}
