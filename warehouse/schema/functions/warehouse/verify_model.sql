-- Computes random cells of a model again from what it reads, as a build would, and compares them with
-- its rows. The caller rolls back: nothing is written, and no lock is taken that a build waits for. In a
-- transaction of its own, at `repeatable read`, so that a build beside it is not seen half done.
-- Cells are drawn in one random period of a model with periods, else anywhere: cells that should have
-- rows, and cells that have. Where cells depend on each other, all those of a random day are.
-- skipped says why a model can't be verified now; then nothing was compared.
-- differences: of the first rows that differ their key, and each column as stored and as recomputed.
create or replace function warehouse.verify_model(
    model_name text,
    most_cells integer,
    seed double precision,
    out skipped text,
    out verified_cells bigint,
    out differing_rows bigint,
    out differing_columns text[],
    out differences jsonb
)
language plpgsql as $$
declare
    stored warehouse.stored_models;
    built warehouse.model_offsets;
    cells text;
    touched text;
    recomputed text;
    figures text;
    key_columns text[];
    first_day date;
    last_day date;
    some_day date;
    one_statement text;
begin
    select * into strict stored from warehouse.stored_models as m where m.model = model_name;
    select * into built from warehouse.model_offsets as o where o.model = model_name;
    skipped := case
        when built.model is null then 'not built yet'
        when built.checksum <> stored.checksum then 'its code has changed since it was built'
        -- Facts also hold later events, which can be left out; other models hold only current rows.
        when exists (
            select 1 from warehouse.model_offsets as o
            inner join warehouse.stored_models as m on o.model = m.model
            where
                o.model = any(stored.upstream)
                and not m.is_fact
                and (o.batch_seq, o.as_of) is distinct from (built.batch_seq, built.as_of)
        ) or exists (
            select 1 from staging.event_batches as b where b.kind <> 'events' and b.batch_seq > built.batch_seq
        ) then 'what it reads has changed since it was built'
    end;
    if skipped is not null then
        return;
    end if;

    select string_agg(quote_ident(c.name), ', ') into cells from unnest(stored.cells) as c (name);
    select string_agg(quote_ident(f.name), ', ') into figures from unnest(stored.figures) as f (name);
    touched := format('pg_temp.%I', 'touched_' || model_name);
    recomputed := format('pg_temp.%I', 'new_' || model_name);
    perform setseed(seed);
    if stored.drawn_on is not null then
        execute format(
            'select min(%1$s)::date, max(%1$s)::date from %2$s', stored.drawn_on, stored.relation
        ) into first_day, last_day;
        some_day := first_day + floor(random() * (last_day - first_day + 1))::integer;
    end if;
    -- Of a model that has periods and no rows, all cells are listed: there should be none.
    perform warehouse.set_locally(jsonb_build_object(
        'warehouse.invocation', '',
        'warehouse.mode',
        case when stored.drawn_on is not null and some_day is null then 'full' else 'window' end,
        'warehouse.is_past_erasure', 'false',
        'warehouse.from_batch', '-1',
        'warehouse.from_as_of', '-infinity',
        'warehouse.to_batch', built.batch_seq::text,
        'warehouse.to_as_of', built.as_of::text,
        'warehouse.window_start', coalesce(some_day::text, ''),
        'warehouse.window_end', coalesce((some_day + 1)::text, '')
    ));

    verified_cells := 1;
    if cells is not null then
        foreach one_statement in array stored.list_cells loop
            execute one_statement;
        end loop;
        if not stored.has_linked_cells then
            execute format(
                case
                    when some_day is null then 'insert into %1$s select %2$s from %3$s order by random() limit %5$s'
                    else 'insert into %1$s select distinct %2$s from %3$s where %4$s = (select max(%4$s) from %3$s where %4$s < %6$L::date)'
                end,
                touched, cells, stored.relation, stored.drawn_on, most_cells, some_day + 1
            );
            execute format(
                'create temporary table drawn_cells on commit drop as '
                'select * from (select distinct * from %s) as each_once order by random() limit %s',
                touched, most_cells
            );
            execute format('truncate %1$s; insert into %1$s select * from drawn_cells; analyze %1$s', touched);
        end if;
        execute format('select count(*) from %s', touched) into verified_cells;
    end if;
    -- With the types of the columns: what is stored was rounded to them, too.
    execute format(
        'create temporary table new_%3$s on commit drop as select %1$s from %2$s limit 0',
        figures, stored.relation, model_name
    );
    perform warehouse.insert_rows_of_cells(stored, recomputed, figures);

    select array_agg(a.attname order by a.attname) into key_columns
    from pg_index as i
    inner join pg_attribute as a on i.indrelid = a.attrelid and a.attnum = any(i.indkey)
    where i.indrelid = stored.relation::regclass and i.indisprimary;
    key_columns := coalesce(key_columns, stored.figures);
    execute format(
        $query$
            with

            stored as (
                select to_jsonb(r) as content
                from (select %1$s from %2$s where %3$s) as r
            ),

            recomputed as (
                select to_jsonb(r) as content from (select %1$s from %4$s) as r
            ),

            keyed as (
                select
                    each.source,
                    each.content,
                    (
                        select jsonb_object_agg(k.name, each.content -> k.name)
                        from unnest($1) as k (name)
                    ) as key
                from (
                    select 'stored' as source, content from stored
                    union all
                    select 'recomputed' as source, content from recomputed
                ) as each
            ),

            differing as (
                select
                    key,
                    (
                        select jsonb_object_agg(
                            f.name,
                            jsonb_build_object('stored', s.content -> f.name, 'recomputed', r.content -> f.name)
                        )
                        from unnest($2) as f (name)
                        where
                            s.content -> f.name is distinct from r.content -> f.name
                            -- Else the whole row is missing or one too many.
                            and s.content is not null
                            and r.content is not null
                    ) as columns,
                    s.content is null as is_missing,
                    r.content is null as is_surplus
                from (select * from keyed where source = 'stored') as s
                full join (select * from keyed where source = 'recomputed') as r using (key)
                where s.content is distinct from r.content
            )

            select
                count(*),
                array(
                    select distinct names.name
                    from differing as d, jsonb_object_keys(d.columns) as names (name)
                    order by names.name
                ),
                coalesce(
                    (
                        select jsonb_agg(to_jsonb(shown))
                        from (select * from differing order by key limit 5) as shown
                    ),
                    '[]'
                )
            from differing
        $query$,
        figures, stored.relation,
        case when cells is null then 'true' else format('(%s) in (select %s from %s)', cells, cells, touched) end,
        recomputed
    ) into differing_rows, differing_columns, differences using key_columns, stored.figures;
end
$$;
