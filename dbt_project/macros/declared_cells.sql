{#
    What a model declares in its YAML under `config: meta:`

        cells            the columns that make a cell, such as [client_id, date]
        touched_by       by upstream model, the cells that its new rows touch, as one of

            [client_id, occurred_on]            these columns of the new rows
            {columns: [...], where: ...}        the same of the rows that fulfil a condition
            {macro: chats_of_message, columns: [...], ...}
                                                the macro touched__chats_of_message with its
                                                arguments, see macros/touched

                         or a list of such mappings, whose cells are added up
        window_on        the cell column, or an expression of it, that a backfill's --start and --end
                         refer to
        linked_cells_on  the day of a row, where cells are computed right only together with others of
                         that day: `warehouse verify` takes them all
        period           what a row covers: day (the default), week or month
        time_dependent   true where rows change with as_of alone
        holds_every_event  true for the typed fact of all events
        restated         for marts whose published figures are kept when they change: see trust.sql
        access           who may read it: see access.sql
        by_client        true where a cluster can compute rows only one client at a time
        plans            the clients' plans that include it; all of them by default
        api              how the HTTP API serves it, where that does not follow from the above:
                         key (the columns that make a row unique, without a primary key), period_on
                         (as window_on, to choose rows by), dense (periods without events have rows
                         of zeros), live (rows change without a build)

    Columns are in the order of `cells`. Each is a name, an SQL expression, or one of
    `column_macros` with a name, such as month_of(occurred_on). A condition is SQL, or the name of a
    macro such as is_client. New rows that an erasure took have `is_erased` set.

    dbt renders all of this while it parses, so that a mistake is found before anything runs, and so
    that it knows what a model depends on: a declaration needs no `-- depends_on`.
#}
{% macro check_declaration() -%}
    {% if execute %}{{ return('') }}{% endif %}
    {% set meta = model.config.meta %}
    {{ refuse_unknown('config: meta:', meta, [
        'access', 'cells', 'touched_by', 'window_on', 'period', 'time_dependent', 'holds_every_event', 'restated',
        'linked_cells_on', 'by_client', 'plans', 'api',
    ]) }}
    {{ refuse_unknown('api:', meta.api or {}, ['key', 'period_on', 'dense', 'live']) }}
    {{ refuse_unknown('restated:', meta.restated or {}, ['client', 'period', 'closes_at', 'of_entities']) }}
    {{ refuse_unknown('period:', [period_of_cells()], ['day', 'week', 'month']) }}
    {% if ('cells' in meta) != ('touched_by' in meta) or ('window_on' in meta and 'cells' not in meta) %}
        {{ refuse_declaration('`cells` and `touched_by` go together, and `window_on` needs them') }}
    {% endif %}
    {% for upstream, declared in (meta.touched_by or {}).items() %}
        {% do ref(upstream) %}
        {% do cells_touched_by(upstream, declared) %}
    {% endfor %}
    {% if false %}{{ named_in_declarations() }}{% endif %}
{%- endmacro %}


{% macro cells_touched_by(upstream, declared) -%}
    {% set is_union = declared is not mapping and declared | first is mapping %}
    {% for part in (declared if is_union else [declared]) %}
    {{ 'union all' if not loop.first }}
    {{ part_of_touched_cells('touched_by: ' ~ upstream ~ ':', part if part is mapping else {'columns': part}) }}
    {% endfor %}
{%- endmacro %}


{% macro part_of_touched_cells(place, part) -%}
    {% set cells = model.config.meta.cells %}
    {{ refuse_unknown(place, part, ['columns', 'where', 'macro', 'unless', 'and_next']) }}
    {% if 'macro' not in part and 'columns' not in part %}
        {{ refuse_declaration(place ~ ' lacks `columns` or `macro`') }}
    {% endif %}
    {% set arguments = dict(part.items() | rejectattr(0, 'equalto', 'macro')) %}
    {% if 'columns' in part %}
        {% if part.columns | length != cells | length %}
            {{ refuse_declaration(
                place ~ ' has ' ~ part.columns | length ~ ' columns, `cells` has ' ~ cells | length ~ ': '
                ~ cells | join(', ')
            ) }}
        {% endif %}
        {% set columns = [] %}
        {% for column in part.columns %}{% do columns.append(declared_column(place, column)) %}{% endfor %}
        {% do arguments.update({'columns': columns}) %}
    {% endif %}
    {% if 'where' in part %}
        {% do arguments.update({'where': declared_condition(place, part.where)}) %}
    {% endif %}
    {% if 'macro' in part %}
        {{ refuse_unknown(place ~ ' macro:', [part.macro], macros_named('touched__')) }}
        {{ context['touched__' ~ part.macro](**arguments) }}
    {% else %}
        select {{ arguments.columns | join(', ') }} from new_rows
        {{ 'where ' ~ arguments.where if 'where' in part }}
    {% endif %}
{%- endmacro %}


{# The macros that a column of a declaration may be made by. #}
{% macro column_macros() -%}
    {{ return([
        'day_of', 'hour_of', 'window_start_of', 'start_of_week', 'start_of_month', 'month_of',
        'year_of', 'month_number_of',
    ]) }}
{%- endmacro %}


{% macro declared_column(place, column) -%}
    {% set call = modules.re.match('(\\w+)\\(([\\w()]+)\\)$', column) %}
    {% if call %}
        {{ refuse_unknown(place ~ ' columns:', [call.group(1)], column_macros()) }}
        {{ return(context[call.group(1)](declared_column(place, call.group(2))) | trim) }}
    {% endif %}
    {{ return(column) }}
{%- endmacro %}


{% macro declared_condition(place, where) -%}
    {% if modules.re.match('\\w+$', where) %}
        {{ refuse_unknown(place ~ ' where:', [where], macros_named('is_', keeps_prefix=true)) }}
        {{ return(context[where]() | trim) }}
    {% endif %}
    {{ return(where) }}
{%- endmacro %}


{# The project's macros that start so, without that start or with it. #}
{% macro macros_named(prefix, keeps_prefix=false) -%}
    {% set found = [] %}
    {% for name in context if name.startswith(prefix) and context[name].macro.package_name == project_name %}
        {% do found.append(name if keeps_prefix else name[prefix | length:]) %}
    {% endfor %}
    {{ return(found | sort) }}
{%- endmacro %}


{#
    dbt reads a model again when a macro changes that it calls by name. Declarations name macros
    where dbt does not look, so they are called here, where nothing runs.
#}
{% macro named_in_declarations() -%}
    {{ touched__answered_messages() }} {{ touched__batches_of_events() }} {{ touched__chats_of_message() }} {{ touched__chats_of_user() }}
    {{ touched__clients_in_a_new_month() }} {{ touched__creations_of_leads() }}
    {{ touched__days_in_stage() }} {{ touched__days_of_changed_counts() }}
    {{ touched__days_of_changed_mrr() }} {{ touched__days_of_conversion_windows() }}
    {{ touched__days_of_sequence_numbers() }} {{ touched__days_of_users_and_next() }}
    {{ touched__ended_periods() }} {{ touched__ends_of_sessions() }} {{ touched__events_of_moved_leads() }}
    {{ touched__every_period_since() }} {{ touched__former_first_days_of_users() }}
    {{ touched__matured_cohorts() }} {{ touched__moved_creations_of_leads() }}
    {{ touched__new_days_with_subscriptions() }} {{ touched__next_stage_changes() }}
    {{ touched__period_and_next() }} {{ touched__periods_of_span() }}
    {{ touched__rows_of_removed_clients() }} {{ touched__sessions_of_conversions() }}
    {{ touched__sessions_of_views() }} {{ touched__starts_of_sessions() }}
    {{ touched__unless_known() }}
    {{ day_of() }} {{ hour_of() }} {{ window_start_of() }} {{ start_of_week() }} {{ start_of_month() }}
    {{ month_of() }} {{ year_of() }} {{ month_number_of() }}
    {{ is_client() }} {{ is_converting_payment() }} {{ is_error() }} {{ is_funnel_event() }}
    {{ is_funnel_step() }} {{ is_of_visitor() }}
{%- endmacro %}


{# What a row of the model covers, as it declares it. #}
{% macro period_of_cells() -%}
    {{ return(model.config.meta.period or 'day') }}
{%- endmacro %}


{#
    Columns that declarations name and upstream models lack. While dbt parses it does not know the
    columns of other models yet, so this is checked for all models before a build.
#}
{% macro check_declared_columns() -%}
    {% for node in graph.nodes.values() if node.resource_type == 'model' %}
    {% for upstream, declared in (node.config.meta.touched_by or {}).items() %}
        {% set known = graph.nodes['model.' ~ project_name ~ '.' ~ upstream].columns | list %}
        {% for part in ([declared] if declared is mapping or declared | first is not mapping else declared) if 'macro' not in part %}
            {% for column in (part.columns if part is mapping else part) %}
                {% set name = modules.re.match('(?:\\w+\\()*([a-z]\\w*)\\)*$', column) %}
                {% if name and name.group(1) not in known %}
                    {{ refuse_declaration(
                        'touched_by: ' ~ upstream ~ ': does not have the column `' ~ name.group(1)
                        ~ '`. It has: ' ~ known | join(', '), node
                    ) }}
                {% endif %}
            {% endfor %}
        {% endfor %}
    {% endfor %}
    {% endfor %}
{%- endmacro %}


{% macro refuse_unknown(place, given, allowed) -%}
    {% for name in given if name not in allowed %}
        {{ refuse_declaration(place ~ ' does not know `' ~ name ~ '`. Allowed: ' ~ allowed | join(', ')) }}
    {% endfor %}
{%- endmacro %}


{% macro refuse_declaration(message, node=none) -%}
    {% set declared_by = node or model %}
    {% do exceptions.raise_compiler_error(
        'The YAML of ' ~ declared_by.name ~ ', beside ' ~ declared_by.original_file_path ~ ': ' ~ message
    ) %}
{%- endmacro %}
