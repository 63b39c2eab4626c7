{#
    Cells: the units in which a mart is recomputed and replaced. A model names them in its meta:

        cells        the columns that make a cell, such as [client_id, date]
        touched_by   by upstream model, the select that turns its new rows (`new_rows`) into cells;
                     may hold Jinja, which is rendered when the build runs. Rows that an erasure
                     took are among them, marked by `is_erased`
        window_on    the cell column that a backfill's --start and --end speak of

    A model without cells is small: it is rewritten whole.
#}


{# The instant that the build looks from. #}
{% macro as_of() -%}
    current_setting('warehouse.to_as_of')::timestamptz
{%- endmacro %}


{# The instant that the model has looked from before. #}
{% macro from_as_of() -%}
    current_setting('warehouse.from_as_of')::timestamptz
{%- endmacro %}


{# Whether the build goes on from where the model stands: in all others every row is a new one. #}
{% macro is_increment() -%}
    current_setting('warehouse.mode') = 'incremental'
{%- endmacro %}


{# Whether an erasure lies between where the model stands and what this build reads. #}
{% macro is_past_erasure() -%}
    current_setting('warehouse.is_past_erasure', true) = 'true'
{%- endmacro %}


{# The last batch that the model has read before. #}
{% macro from_batch() -%}
    current_setting('warehouse.from_batch')::bigint
{%- endmacro %}


{# The last batch that this build reads. #}
{% macro to_batch() -%}
    current_setting('warehouse.to_batch')::bigint
{%- endmacro %}


{# What a fact's rows, by an alias where several are joined, must fulfil to be seen by this build. #}
{% macro is_visible(alias=none) -%}
    {% set of = alias ~ '.' if alias else '' -%}
    {{ of }}batch_seq <= {{ to_batch() }}
    and {{ of }}occurred_at < {{ as_of() }}
{%- endmacro %}


{#
    The rows of a fact that this build reads for the first time: those of new batches, and those of
    old ones that as_of has passed since. The day stands beside the instant because it is indexed.
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


{# The rows of a fact, here by an alias, that this build's model has read before. #}
{% macro was_visible(alias) -%}
    {{ alias }}.batch_seq <= {{ from_batch() }}
    and {{ alias }}.occurred_at < {{ from_as_of() }}
{%- endmacro %}


{# The rows of an entity that are news: changed by a new batch, or a moment of theirs came to pass. #}
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


{# What is news depends on what the upstream model is: a fact, an entity, or a model of cells. #}
{% macro is_news(upstream) -%}
    {% for node in graph.nodes.values() if node.resource_type == 'model' and node.name == upstream %}
        {% if node.config.materialized == 'view' %}{{ is_changed(['created_at', 'churned_at'] | select('in', node.columns)) }}
        {% elif node.config.incremental_strategy == 'append_new' %}{{ is_new() }}
        {% else %}{{ is_rebuilt() }}
        {% endif %}
    {% endfor %}
{%- endmacro %}


{# How far the build has read that writes a row, for models downstream (see is_rebuilt). #}
{% macro built_batch_seq() -%}
    {{ to_batch() }}
{%- endmacro %}


{# The instant that a mart looks from, for views on it. #}
{% macro stands_at(mart) -%}
    (select warehouse.current_as_of('{{ mart }}'))
{%- endmacro %}


{# The instant that the last build looked from, for views and functions that read facts alone. #}
{% macro last_as_of() -%}
    (select warehouse.last_as_of())
{%- endmacro %}


{# The rows of staging that a fact reads for the first time. #}
{% macro in_new_batches() -%}
    batch_seq > {{ from_batch() }}
    and batch_seq <= {{ to_batch() }}
{%- endmacro %}


{# The batches before those that an erasure among the new ones has taken events out of. #}
{% macro batches_erased_from() -%}
    select erased_from.batch_seq from {{ ref('stg_event_batches') }} as erased_from
    where
        erased_from.batch_seq <= {{ from_batch() }}
        and erased_from.erased_by > {{ from_batch() }}
        and erased_from.erased_by <= {{ to_batch() }}
{%- endmacro %}


{# Narrows an input to the cells that are recomputed; columns stand in the order of meta.cells. #}
{% macro in_touched_cells(columns) -%}
    ({{ columns | join(', ') }}) in (select {{ config.get('meta').cells | join(', ') }} from {{ touched_table() }})
{%- endmacro %}


{#
    Narrows an input by one column of the touched cells, beside in_touched_cells: so that it is read
    by an index on that column where none is on the whole cell. (An array is no join: the other
    condition alone is one, on all columns at once.)
#}
{% macro in_touched(column, cell) -%}
    {{ column }} = any(array(select distinct {{ cell }} from {{ touched_table() }}))
{%- endmacro %}


{% macro touched_table() -%}
    pg_temp.touched_{{ model.name }}
{%- endmacro %}


{% macro list_touched_cells() -%}
    {% set meta = config.get('meta') %}
    {% set touching = {} %}
    {% set has_erased = run_query('select exists (select from warehouse.erased_rows)').columns[0].values()[0] %}
    {% for upstream, cells_of_new_rows in meta.touched_by.items() %}
        {# Nothing is asked where there is nothing yet that could be touched. #}
        {% set cells = render(cells_of_new_rows) | trim %}
        {% do touching.update({upstream: cells}) if cells %}
    {% endfor %}
    create temporary table touched_{{ model.name }} on commit drop as
    select distinct {{ meta.cells | join(', ') }}
    from (
        {% for upstream, cells in touching.items() %}
        {{ 'union all' if not loop.first }}
        select *
        from (
            with new_rows as (
                select *, false as is_erased from {{ ref(upstream) }} where {{ is_news(upstream) }}
                {% if has_erased %}union all {{ erased_rows(upstream) }}{% endif %}
            )

            {{ cells }}
        ) as touched_by_{{ upstream }}
        {% endfor %}
    ) as touched ({{ meta.cells | join(', ') }})
    where {{ in_window(meta.window_on) }};
    analyze {{ touched_table() }};
{%- endmacro %}


{#
    The rows of an upstream model that an erasure took, or for which one had it replaced, as they
    were: among the new rows they touch the cells that they were in. Look-ups do not find them.
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
    Notes the rows that a model is about to replace for an erasure, where models downstream look for
    rebuilt rows: of one that vanishes they would not hear. A backfill leaves its model standing
    before the erasure: they hear of it when they go past that, and not before.
#}
{% macro note_replaced_sql(target_relation) -%}
    {% set cells = config.get('meta').cells | join(', ') %}
    insert into warehouse.erased_rows (model, batch_seq, content)
    select
        '{{ model.name }}',
        greatest(
            {{ to_batch() }},
            (select max(b.batch_seq) from staging.event_batches as b where b.kind = 'erasure')
        ),
        to_jsonb(replaced)
    from {{ target_relation }} as replaced
    where
        {{ is_past_erasure() }}
        and (
            current_setting('warehouse.mode') = 'full'
            or ({{ cells }}) in (select {{ cells }} from {{ touched_table() }})
        )
{%- endmacro %}


{#
    True outside a backfill. A cell without a day of its own belongs to every window, a week or month
    to each that holds some of its days.
#}
{% macro in_window(column) -%}
    {% if column %}
    {% set period = (config.get('meta') or {}).get('period', 'day') %}
    (
        current_setting('warehouse.mode') <> 'window'
        or (
            {{ column }} >= date_trunc(
                '{{ period }}', nullif(current_setting('warehouse.window_start'), '')::timestamp
            )::date
            and {{ column }} < nullif(current_setting('warehouse.window_end'), '')::date
        )
    )
    {% else %}
    true
    {% endif %}
{%- endmacro %}


{#
    Strategy of the marts: the touched cells' rows are replaced, in full mode all rows, in a
    backfill all rows of the window, so that rows which no event stands behind any more vanish.
#}
{% macro get_incremental_replace_cells_sql(arg_dict) -%}
    {% for statement in replace_rows_sql(
        arg_dict.target_relation, arg_dict.temp_relation, arg_dict.dest_columns
    ) %}
        {{ statement }};
    {% endfor %}
    {{ note_touched_periods_sql(arg_dict.temp_relation) }}
{%- endmacro %}


{#
    Tells, for whoever watches builds, which periods were touched and how many rows were written to
    each. In full mode all were: end_model tells of them.
#}
{% macro note_touched_periods_sql(source) -%}
    {% set meta = config.get('meta', {}) %}
    {% if meta.get('window_on') %}
    insert into warehouse.touched_periods
        (invocation_id, model, period_start, rows_written, from_batch, to_batch)
    select '{{ invocation_id }}', '{{ model.name }}', period_start, sum(rows_written), {{ from_batch() }}, {{ to_batch() }}
    from (
        select {{ meta.window_on }} as period_start, 0 as rows_written from {{ touched_table() }}
        union all
        select {{ meta.window_on }}, 1 from {{ source }} as written
    ) as periods
    where current_setting('warehouse.mode') <> 'full'
    group by period_start;
    {% endif %}
{%- endmacro %}


{#
    Returns the statements that replace a model's rows by those of `source`. One delete for each
    case, so that each finds its rows by an index: a case that is not given costs nothing.
#}
{% macro replace_rows_sql(target_relation, source, columns) -%}
    {% set meta = config.get('meta', {}) %}
    {% set names = columns | map(attribute='quoted') | join(', ') %}
    {% set statements = [] %}
    {% if meta.get('restated') %}
        {% do statements.append(note_restatements_sql(target_relation, source)) %}
    {% endif %}
    {% if meta.get('cells') %}
        {% set cells = meta.cells | join(', ') %}
        {% if 'built_batch_seq' in columns | map(attribute='name') %}
            {% do statements.append(note_replaced_sql(target_relation)) %}
        {% endif %}
        {% do statements.append(
            "delete from " ~ target_relation ~ " where current_setting('warehouse.mode') = 'full'"
        ) %}
        {% do statements.append(
            "delete from " ~ target_relation ~ " where current_setting('warehouse.mode') <> 'full'"
            ~ " and (" ~ cells ~ ") in (select " ~ cells ~ " from " ~ touched_table() ~ ")"
        ) %}
        {% if meta.get('window_on') %}
            {% do statements.append(
                "delete from " ~ target_relation ~ " where current_setting('warehouse.mode') = 'window'"
                ~ " and " ~ in_window(meta.window_on)
            ) %}
        {% endif %}
    {% else %}
        {% do statements.append("delete from " ~ target_relation) %}
    {% endif %}
    {% do statements.append(
        "insert into " ~ target_relation ~ " (" ~ names ~ ") select " ~ names ~ " from " ~ source ~ " as new_rows"
    ) %}
    {{ return(statements) }}
{%- endmacro %}


{#
    Strategy of the typed facts: events are added, never changed. Their own key makes sure that a
    file loaded again after its raw partition was dropped adds nothing.
#}
{% macro get_incremental_append_new_sql(arg_dict) -%}
    {% set names = arg_dict.dest_columns | map(attribute='quoted') | join(', ') %}
    delete from {{ arg_dict.target_relation }} where current_setting('warehouse.mode') = 'full';
    insert into {{ arg_dict.target_relation }} ({{ names }})
    select {{ names }} from {{ arg_dict.temp_relation }}
    on conflict do nothing;
{%- endmacro %}
