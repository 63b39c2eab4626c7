{# The instant from which a session makes its unit active: elapsed hours, not calendar days. #}
{% macro active_since() -%}
    ({{ as_of() }} - make_interval(hours => {{ var('active_unit_hours') }}))
{%- endmacro %}
