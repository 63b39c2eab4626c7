-- The statements that change a model's table to what the model declares: columns, their types, not
-- null, checks, keys, indexes; none if nothing differs. A column that is no longer declared stays.
-- Statements that add columns or loosen a constraint come first; the others fail if rows violate them.
-- Names of checks and indexes end in a digest of their text, so a changed text has a new name. Keys are
-- compared by their columns. Indexes that have neither such a name nor one of dbt's are left alone:
-- they belong to somebody else.
create or replace function warehouse.declared_differences(relation regclass, declared jsonb)
returns table (statement text, is_loosening boolean)
language sql stable set search_path = pg_catalog, pg_temp as $$
    with

    columns as (
        select
            a.attname::text as name,
            a.atttypid as type,
            a.attnotnull as is_not_null,
            to_regtype(d.type)::oid as declared_type,
            coalesce(d.not_null, false) as declared_not_null
        from pg_attribute as a
        left join
            jsonb_to_recordset(declared -> 'columns') as d (name text, type text, not_null boolean)
            on a.attname = d.name
        where a.attrelid = relation and a.attnum > 0 and not a.attisdropped
    ),

    declared_keys as (
        select kind, columns
        from jsonb_to_recordset(declared -> 'keys') as d (kind text, columns text [])
    ),

    keys as (
        select
            c.conname::text as name,
            case c.contype when 'p' then 'primary key' else 'unique' end as kind,
            array(
                select a.attname::text
                from unnest(c.conkey) with ordinality as k (attnum, place)
                inner join pg_attribute as a on a.attrelid = relation and k.attnum = a.attnum
                order by k.place
            ) as columns
        from pg_constraint as c
        where c.conrelid = relation and c.contype in ('p', 'u')
    ),

    declared_checks as (
        select key as name, value as expression from jsonb_each_text(declared -> 'checks')
    ),

    checks as (
        select conname::text as name
        from pg_constraint
        where conrelid = relation and contype = 'c'
    ),

    declared_indexes as (
        select key as name, value as definition from jsonb_each_text(declared -> 'indexes')
    ),

    indexes as (
        select
            c.relname::text as name,
            c.relnamespace::regnamespace as schema_name
        from pg_index as i
        inner join pg_class as c on i.indexrelid = c.oid
        where
            i.indrelid = relation
            and not exists (select 1 from pg_constraint as k where k.conindid = i.indexrelid)
    ),

    changes (place, change) as (
        select 1, format('drop constraint %I', k.name)
        from keys as k
        where (k.kind, k.columns) not in (select d.kind, d.columns from declared_keys as d)
        union all
        select 1, format('drop constraint %I', c.name)
        from checks as c
        where c.name not in (select d.name from declared_checks as d)
        union all
        select 2, format('alter column %I drop not null', c.name)
        from columns as c
        where
            c.is_not_null
            and not c.declared_not_null
            and not exists (
                select 1 from declared_keys as d
                where d.kind = 'primary key' and c.name = any(d.columns)
            )
        union all
        select 2, format('add column %I %s', d.name, d.type)
        from jsonb_to_recordset(declared -> 'columns') as d (name text, type text)
        where d.name not in (select c.name from columns as c)
        union all
        -- A type changes before the new rows are written (3) if the old rows can be converted, and
        -- after it (4) otherwise: then the old column takes the new rows first.
        select
            case
                when
                    t.typcategory = 'S'
                    or exists (
                        select 1 from pg_cast as k
                        where
                            k.castsource = c.type
                            and k.casttarget = c.declared_type
                            and k.castcontext in ('i', 'a')
                    )
                    then 3
                else 4
            end,
            format('alter column %1$I type %2$s using %1$I::%2$s', c.name, c.declared_type::regtype)
        from columns as c
        inner join pg_type as t on c.declared_type = t.oid
        where c.type <> c.declared_type
        union all
        select 5, format('alter column %I set not null', c.name)
        from columns as c
        where c.declared_not_null and not c.is_not_null
        union all
        select 6, format('add constraint %I check (%s)', d.name, d.expression)
        from declared_checks as d
        where d.name not in (select c.name from checks as c)
        union all
        select
            6,
            format(
                'add %s (%s)',
                d.kind,
                (
                    select string_agg(quote_ident(named.name), ', ' order by named.place)
                    from unnest(d.columns) with ordinality as named (name, place)
                )
            )
        from declared_keys as d
        where (d.kind, d.columns) not in (select k.kind, k.columns from keys as k)
    ),

    statements (place, statement) as (
        select place, format('alter table %s %s', relation, change) from changes
        union all
        select 3, format('drop index %s.%I', i.schema_name, i.name)
        from indexes as i
        where
            i.name ~ '^([0-9a-f]{32}|.*_[0-9a-f]{8}_idx)$'
            and i.name not in (select d.name from declared_indexes as d)
        union all
        select 7, d.definition
        from declared_indexes as d
        where d.name not in (select i.name from indexes as i)
    )

    select
        statement,
        place <= 3
    from statements
    order by place, statement
$$;
