{#
    A parameter of a ready query, such as $1::text. The YAML beside declares it, with its type and
    its default; whoever runs the query binds its value (`warehouse query NAME --param name=value`).
#}
{% macro parameter(name) -%}
    {% set declared = model.config.meta.parameters or {} %}
    {% for known, about in declared.items() if known == name -%}
    ${{ (declared | list).index(name) + 1 }}::{{ about.type }}
    {%- else -%}
    {# While dbt parses, it has not read the YAML yet. #}
    {% if execute %}{% do exceptions.raise_compiler_error(model.name ~ ' declares no parameter `' ~ name ~ '`') %}{% endif %}
    {%- endfor %}
{%- endmacro %}
