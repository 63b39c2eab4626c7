{# From when on a session makes its unit an active one; elapsed hours, whatever the calendar. #}
{% macro active_since() -%}
    ({{ as_of() }} - make_interval(hours => {{ var('active_unit_hours') }}))
{%- endmacro %}
