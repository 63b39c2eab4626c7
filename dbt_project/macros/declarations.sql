{#
    What a model declares of its table: columns with types, not null, checks, keys and indexes. dbt
    applies this in `create table` only; warehouse.follow_declaration changes the table to match on
    every build, in the model's own transaction.
#}
{% macro declaration() -%}
    {% set columns = [] %}
    {% set keys = [] %}
    {% set checks = {} %}
    {% set indexes = {} %}
    {% set constraints = model.constraints | list %}
    {% for column in model.columns.values() %}
        {% set of_column = column.constraints | map(attribute='type') | map('string') | list %}
        {% do columns.append({
            'name': column.name, 'type': column.data_type, 'not_null': 'not_null' in of_column
        }) %}
        {% for constraint in column.constraints if constraint.type != 'not_null' %}
            {% do constraints.append(dict(constraint, columns=[column.name])) %}
        {% endfor %}
    {% endfor %}
    {% for constraint in constraints %}
        {% if constraint.type in ['primary_key', 'unique'] %}
            {% do keys.append({
                'kind': constraint.type | string | replace('_', ' '), 'columns': constraint.columns
            }) %}
        {% elif constraint.type == 'check' %}
            {% do checks.update({
                (constraint.name or 'check') ~ '_' ~ local_md5(constraint.expression)[:8]: constraint.expression
            }) %}
        {% else %}
            {% do exceptions.raise_compiler_error(
                model.name ~ ' declares a constraint of type ' ~ constraint.type ~ ', which its table could not follow'
            ) %}
        {% endif %}
    {% endfor %}
    {% for index in config.get('indexes', []) %}
        {% do indexes.update({index_name(index): get_create_index_sql(this, index) | trim}) %}
    {% endfor %}
    {{ return({'columns': columns, 'keys': keys, 'checks': checks, 'indexes': indexes}) }}
{%- endmacro %}


{% macro follow_declaration(is_written) -%}
    select warehouse.follow_declaration(
        '{{ this.include(database=false) }}',
        {{ quoted(tojson(declaration(), sort_keys=true)) }},
        {{ 'true' if is_written else 'false' }}
    );
{%- endmacro %}


{# The columns of a new table. Keys and indexes follow when the rows are there, which is faster. #}
{% macro columns_of_new_table() -%}
    {% set declared = declaration() -%}
    (
        {% for column in declared.columns -%}
        {{ column.name }} {{ column.type }}{{ ' not null' if column.not_null }}{{ ',' if not loop.last }}
        {% endfor %}
        {% for name, expression in declared.checks.items() -%}
        , constraint {{ name }} check ({{ expression }})
        {% endfor %}
    )
{%- endmacro %}


{# dbt's own name differs in every run. This one is a digest of what is indexed. #}
{% macro index_name(index) -%}
    {{ return(model.name[:48] ~ '_' ~ local_md5(tojson(index, sort_keys=true))[:8] ~ '_idx') }}
{%- endmacro %}


{% macro postgres__get_create_index_sql(relation, index) -%}
    create {{ 'unique' if index.unique }} index {{ index_name(index) }}
    on {{ relation.include(database=false) }} {{ 'using ' ~ index.type if index.type }}
    ({{ index.columns | join(', ') }})
{%- endmacro %}
