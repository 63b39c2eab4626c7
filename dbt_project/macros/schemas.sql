{# A model's schema is the one it names, in every environment, because readers rely on the names. #}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ custom_schema_name or target.schema }}
{%- endmacro %}
