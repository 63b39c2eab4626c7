{#
    Cells: the units in which a mart is recomputed and replaced. What a model declares of them is
    described in declared_cells.sql. A model without cells is small: it is rewritten whole.
#}


{# as_of of the build: it sees what happened before. #}
{% macro as_of() -%}
    current_setting('warehouse.to_as_of')::timestamptz
{%- endmacro %}


{# as_of of the model's current offset. #}
{% macro from_as_of() -%}
    current_setting('warehouse.from_as_of')::timestamptz
{%- endmacro %}


{# Whether the build continues from the model's current offset: in all other builds every row is new. #}
{% macro is_increment() -%}
    current_setting('warehouse.mode') = 'incremental'
{%- endmacro %}


{# Whether there is an erasure between the model's current offset and its target. #}
{% macro is_past_erasure() -%}
    current_setting('warehouse.is_past_erasure', true) = 'true'
{%- endmacro %}


{# The last batch that the model has read so far. #}
{% macro from_batch() -%}
    current_setting('warehouse.from_batch')::bigint
{%- endmacro %}


{# The last batch that this build reads. #}
{% macro to_batch() -%}
    current_setting('warehouse.to_batch')::bigint
{%- endmacro %}


{# Whether this build sees a row of a fact. With an alias where several are joined. #}
{% macro is_visible(alias=none) -%}
    {% set of = alias ~ '.' if alias else '' -%}
    {{ of }}batch_seq <= {{ to_batch() }}
    and {{ of }}occurred_at < {{ as_of() }}
{%- endmacro %}


{#
    The unread rows of a fact: those of new batches, and those of earlier batches that as_of has
    passed since. The condition on the day is there because the day is indexed.
#}
{% macro is_new() -%}
    {{ is_visible() }}
    and (
        batch_seq > {{ from_batch() }}
        or (
            occurred_on >= {{ day_of(from_as_of()) }}
            and occurred_at >= {{ from_as_of() }}
        )
    )
{%- endmacro %}


{# The rows of a fact, by its alias, that the model has already read. #}
{% macro was_visible(alias) -%}
    {{ alias }}.batch_seq <= {{ from_batch() }}
    and {{ alias }}.occurred_at < {{ from_as_of() }}
{%- endmacro %}


{# The unread rows of an entity: changed by a new batch, or with a moment that as_of has passed since. #}
{% macro is_changed(moments) -%}
    (batch_seq > {{ from_batch() }} and batch_seq <= {{ to_batch() }})
    {% for moment in moments %}
    or ({{ moment }} >= {{ from_as_of() }} and {{ moment }} < {{ as_of() }})
    {% endfor %}
{%- endmacro %}


{#
    The rows that an upstream model of cells has rewritten since this model read it. One with many
    rows has an index on each of the two columns.
#}
{% macro is_rebuilt() -%}
    (
        built_batch_seq > {{ from_batch() }}
        or built_as_of > {{ from_as_of() }}
    )
{%- endmacro %}


{#
    Which rows of an upstream model are unread depends on what it is: a fact, an entity, or a model
    of cells.
#}
{% macro is_unread(upstream) -%}
    {% set node = graph.nodes['model.' ~ project_name ~ '.' ~ upstream] %}
    {% if node.config.materialized == 'view' %}
        {{ is_changed(['created_at', 'churned_at'] | select('in', node.columns)) }}
    {% elif node.config.incremental_strategy == 'append_new' %}
        {{ is_new() }}
    {% else %}
        {{ is_rebuilt() }}
    {% endif %}
{%- endmacro %}


{# The last batch that the build which writes a row has read, for downstream models (see is_rebuilt). #}
{% macro built_batch_seq() -%}
    {{ to_batch() }}
{%- endmacro %}


{# The as_of of a mart's last build, for views on it. #}
{% macro current_as_of(mart) -%}
    (select warehouse.current_as_of('{{ mart }}'))
{%- endmacro %}


{# as_of of the last build, for views and functions that read only facts. #}
{% macro last_as_of() -%}
    (select warehouse.last_as_of())
{%- endmacro %}


{# The rows of staging that a fact reads for the first time. #}
{% macro in_new_batches() -%}
    batch_seq > {{ from_batch() }}
    and batch_seq <= {{ to_batch() }}
{%- endmacro %}


{# The batches already read from which an erasure among the unread ones removed events. #}
{% macro batches_erased_from() -%}
    select erased_from.batch_seq from {{ ref('stg_event_batches') }} as erased_from
    where
        erased_from.batch_seq <= {{ from_batch() }}
        and erased_from.erased_by > {{ from_batch() }}
        and erased_from.erased_by <= {{ to_batch() }}
{%- endmacro %}


{# Limits an input to the cells that are recomputed. Columns in the order of meta.cells. #}
{% macro in_touched_cells(columns) -%}
    ({{ columns | join(', ') }}) in (select {{ model.config.meta.cells | join(', ') }} from {{ touched_table() }})
{%- endmacro %}


{#
    Limits an input by one column of the touched cells, in addition to in_touched_cells, so that an
    index on that column is used where there is none on the whole cell. An array keeps this from
    being a second join.
#}
{% macro in_touched(column, cell) -%}
    {{ column }} = any(array(select distinct {{ cell }} from {{ touched_table() }}))
{%- endmacro %}


{#
    Limits an input by its day to those of the touched weeks or months, of which `first_day` is the
    first, in addition to the join with them: a range to join on lets the planner read all of history.
#}
{% macro in_touched_periods(column, first_day) -%}
    {{ column }} = any(array(
        select days.date::date
        from (select distinct {{ first_day }} as first_day from {{ touched_table() }}) as periods
        cross join generate_series(
            periods.first_day::timestamp,
            periods.first_day + interval '1 {{ period_of_cells() }}' - interval '1 day',
            interval '1 day'
        ) as days (date)
    ))
{%- endmacro %}


{# The same of a moment, between the first and the last of these periods. #}
{% macro in_touched_span(column, first_day) -%}
    {{ column }} >= (select min({{ first_day }})::timestamp at time zone 'utc' from {{ touched_table() }})
    and {{ column }} < (
        select (max({{ first_day }}) + interval '1 {{ period_of_cells() }}') at time zone 'utc'
        from {{ touched_table() }}
    )
{%- endmacro %}


{% macro touched_table() -%}
    pg_temp.touched_{{ model.name }}
{%- endmacro %}


{# The statements that list the touched cells. Their text is the same in every build. #}
{% macro list_cells_sql() -%}
    {% set meta = model.config.meta %}
    {% set has_erased = run_query('select exists (select 1 from warehouse.erased_rows)').columns[0].values()[0] %}
    {% set listed %}
    create temporary table touched_{{ model.name }} on commit drop as
    select distinct {{ meta.cells | join(', ') }}
    from (
        {% for upstream, declared in meta.touched_by.items() %}
        {{ 'union all' if not loop.first }}
        select *
        from (
            with new_rows as not materialized (
                select *, false as is_erased from {{ ref(upstream) }} where {{ is_unread(upstream) }}
                {% if has_erased %}union all {{ erased_rows(upstream) }}{% endif %}
            )

            {{ cells_touched_by(upstream, declared) }}
        ) as touched_by_{{ upstream }}
        {% endfor %}
    ) as touched ({{ meta.cells | join(', ') }})
    where {{ in_window(meta.window_on) }}
    {% endset %}
    {{ return([listed, 'analyze ' ~ touched_table()]) }}
{%- endmacro %}


{#
    The rows of an upstream model that an erasure removed or replaced, as they were: as new rows
    they touch the cells that they belonged to. Look-ups do not find them.
#}
{% macro erased_rows(upstream) -%}
    select gone.*, true as is_erased
    from warehouse.erased_rows as noted
    cross join lateral jsonb_populate_record(
        null::{{ ref(upstream).include(database=false) }}, noted.content
    ) as gone
    where
        {{ is_past_erasure() }}
        and noted.model = '{{ upstream }}'
        and noted.batch_seq > {{ from_batch() }}
        and noted.batch_seq <= {{ to_batch() }}
{%- endmacro %}


{#
    Records the rows that a model is about to replace for an erasure: downstream models look for
    rebuilt rows and would miss a row that disappears. A backfill leaves the model's offset before
    the erasure, so downstream models read this once their offset passes the erasure.
#}
{% macro note_replaced_sql(cells_table) -%}
    insert into warehouse.erased_rows (model, batch_seq, content)
    select
        '{{ model.name }}',
        greatest(
            {{ to_batch() }},
            (select max(b.batch_seq) from staging.event_batches as b where b.kind = 'erasure')
        ),
        to_jsonb(replaced)
    from {{ this }} as replaced
    where
        {{ is_past_erasure() }}
        and {{ is_in(model.config.meta.cells, cells_table) }}
{%- endmacro %}


{#
    True outside a backfill. A cell without a day belongs to every window, a week or month to each
    window that has some of its days.
#}
{% macro in_window(column) -%}
    {% if column %}
    (
        current_setting('warehouse.mode') <> 'window'
        or (
            {{ column }} >= date_trunc(
                '{{ period_of_cells() }}', nullif(current_setting('warehouse.window_start'), '')::timestamp
            )::date
            and {{ column }} < nullif(current_setting('warehouse.window_end'), '')::date
        )
    )
    {% else %}
    true
    {% endif %}
{%- endmacro %}


{#
    The statements that replace the rows of the touched cells, and in a backfill those of the window, so
    that rows without any event left disappear. A model without cells is rewritten whole. A typed fact
    only gets new rows: events never change.
#}
{% macro replace_rows_sql() -%}
    {% set meta = model.config.meta %}
    {% if not meta.cells and not is_fact() %}
        {{ return(['delete from ' ~ this, insert_rows_sql(compiled_rows())]) }}
    {% elif is_fact() %}
        {# A file that is loaded again after its raw partition was dropped adds no event a second time. #}
        {{ return([insert_rows_sql(compiled_rows()) ~ ' on conflict do nothing']) }}
    {% endif %}
    {% set statements = [] %}
    {% set source = compiled_rows() %}
    {% if meta.restated or is_by_client() %}
        {# Compared with the old rows before it replaces them. #}
        {% set source = new_rows_table() %}
        {% do statements.append(list_new_rows_sql()) %}
    {% endif %}
    {% if meta.restated %}
        {% do statements.append(note_restatements_sql(source, touched_table())) %}
    {% endif %}
    {% if 'built_batch_seq' in model.columns %}
        {% do statements.append(note_replaced_sql(touched_table())) %}
    {% endif %}
    {% do statements.append('delete from ' ~ this ~ ' where ' ~ is_in(meta.cells, touched_table())) %}
    {% if meta.window_on %}
        {% do statements.append(
            'delete from ' ~ this ~ " where current_setting('warehouse.mode') = 'window' and " ~ in_window(meta.window_on)
        ) %}
    {% endif %}
    {% do statements.append(note_periods_of_sql(insert_rows_sql(source), touched_table())) %}
    {{ return(statements) }}
{%- endmacro %}


{#
    The statements that compute all rows and replace those of the cells that differ from what is there:
    rows that are the same are neither written again nor indexed again, and say when they were computed
    first. For a typed fact the key of a row takes the place of a cell.
#}
{% macro rewrite_rows_sql() -%}
    {% set meta = model.config.meta %}
    {% set cells = meta.cells or key_of_rows() %}
    {% if not meta.cells and not is_fact() %}{{ return(replace_rows_sql()) }}{% endif %}
    {% set compared = figures_of_model() | join(', ') %}
    {% set changed %}
    create temporary table changed_{{ model.name }} on commit drop as
    select distinct {{ cells | join(', ') }}
    from (
        (select {{ compared }} from {{ this }} except select {{ compared }} from {{ new_rows_table() }})
        union all
        (select {{ compared }} from {{ new_rows_table() }} except select {{ compared }} from {{ this }})
    ) as different
    {% endset %}
    {% set changed_table = 'pg_temp.changed_' ~ model.name %}
    {% set statements = [list_new_rows_sql(), changed, 'analyze ' ~ changed_table] %}
    {% if meta.restated %}
        {% do statements.append(note_restatements_sql(new_rows_table(), changed_table)) %}
    {% endif %}
    {% if 'built_batch_seq' in model.columns %}
        {% do statements.append(note_replaced_sql(changed_table)) %}
    {% endif %}
    {% do statements.append('delete from ' ~ this ~ ' where ' ~ is_in(cells, changed_table)) %}
    {% set insert_rows = insert_rows_sql(new_rows_table()) ~ ' where ' ~ is_in(cells, changed_table) %}
    {% do statements.append(note_periods_of_sql(insert_rows, changed_table)) %}
    {{ return(statements) }}
{%- endmacro %}


{# The columns that follow from what was read, and not from when it was read. #}
{% macro figures_of_model() -%}
    {% set of_the_build = [] if is_fact() else ['updated_at', 'built_batch_seq', 'built_as_of'] %}
    {{ return(model.columns | reject('in', of_the_build) | list) }}
{%- endmacro %}


{# The statements that fill an empty table. #}
{% macro fill_rows_sql() -%}
    {% set statements = [insert_rows_sql(compiled_rows())] %}
    {% if is_by_client() %}
        {% set statements = [list_new_rows_sql(), insert_rows_sql(new_rows_table())] %}
    {% endif %}
    {% if model.config.meta.window_on %}
        {% do statements.append(note_periods_sql(
            'select ' ~ model.config.meta.window_on ~ ' as period_start, 1 as rows_written from ' ~ this
        )) %}
    {% endif %}
    {{ return(statements) }}
{%- endmacro %}


{% macro compiled_rows() -%}
    {{ return('(' ~ model.compiled_code ~ ')') }}
{%- endmacro %}


{% macro new_rows_table() -%}
    pg_temp.new_{{ model.name }}
{%- endmacro %}


{% macro list_new_rows_sql() -%}
    {% if is_by_client() %}
        {{ return("select warehouse.list_rows_by_client('" ~ model.name ~ "')") }}
    {% endif %}
    create temporary table new_{{ model.name }} on commit drop as {{ model.compiled_code }}
{%- endmacro %}


{% macro insert_rows_sql(source) -%}
    {% set names = model.columns | join(', ') %}
    insert into {{ this }} ({{ names }}) select {{ names }} from {{ source }} as new_rows
{%- endmacro %}


{% macro is_in(columns, table) -%}
    ({{ columns | join(', ') }}) in (select {{ columns | join(', ') }} from {{ table }})
{%- endmacro %}


{# The columns of the primary key, or all columns where expressions are unique. #}
{% macro key_of_rows() -%}
    {% set keys = model.constraints | selectattr('type', 'equalto', 'primary_key') | list %}
    {{ return(keys[0].columns if keys else model.columns | list) }}
{%- endmacro %}


{#
    Inserts rows and records, for monitoring, which periods of these cells were written, with how many
    rows. warehouse.end_model records how many rows of the model were written.
#}
{% macro note_periods_of_sql(insert_rows, cells_table) -%}
    {% set window_on = model.config.meta.window_on %}
    {% if not window_on %}{{ return(insert_rows) }}{% endif %}
    with written as ({{ insert_rows }} returning {{ window_on }} as period_start)

    {{ note_periods_sql(
        'select period_start, 1 as rows_written from written union all select ' ~ window_on ~ ', 0 from ' ~ cells_table
    ) }}
{%- endmacro %}


{% macro note_periods_sql(written) -%}
    insert into warehouse.touched_periods
        (invocation_id, model, period_start, rows_written, from_batch, to_batch)
    select
        current_setting('warehouse.invocation'),
        '{{ model.name }}',
        period_start,
        sum(rows_written),
        {{ from_batch() }},
        {{ to_batch() }}
    from ({{ written }}) as periods
    group by period_start
{%- endmacro %}
