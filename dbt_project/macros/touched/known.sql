{#
    The cells of new rows, unless `unless` holds between a new row and the model's row of that cell
    (`known`): of most actors the next event changes nothing. Outside an incremental build, and for
    erased rows, every row counts.
#}
{% macro touched__unless_known(columns, unless, where='true') -%}
    select new_rows.{{ columns | join(', new_rows.') }}
    from (select * from new_rows where {{ where }}) as new_rows
    left join {{ this }} as known
        on
        {% for name in columns %}
            new_rows.{{ name }} = known.{{ model.config.meta.cells[loop.index0] }}{{ ' and' if not loop.last }}
        {% endfor %}
    where
        not {{ is_increment() }}
        or new_rows.is_erased
        or ({{ unless }}) is not true
{%- endmacro %}
