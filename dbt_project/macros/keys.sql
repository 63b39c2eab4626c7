{#
    A text of any length in a form that fits an index. SHA-256, because a producer who finds two
    texts with the same hash could make every build fail. (A cast of text to bytea would interpret
    backslashes.)
#}
{% macro hashed(text) -%}
    sha256(decode(replace({{ text }}, '\', '\\'), 'escape'))
{%- endmacro %}
