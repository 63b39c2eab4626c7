{#
    A text of any length as an index can hold it. By SHA-256: somebody who finds two texts with the
    same hash could break every build. (A cast of text to bytea would read backslashes.)
#}
{% macro hashed(text) -%}
    sha256(decode(replace({{ text }}, '\', '\\'), 'escape'))
{%- endmacro %}
