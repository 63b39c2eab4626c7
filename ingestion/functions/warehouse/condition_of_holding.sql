create or replace function warehouse.condition_of_holding(relation regclass, of_one_client boolean)
returns text
language sql stable as $$
    with

    columns as (
        select
            a.attname,
            a.attnum,
            t.typcategory as category,
            t.typname as name,
            e.typcategory as element_category
        from pg_attribute as a
        inner join pg_class as c on a.attrelid = c.oid
        inner join pg_type as t on a.atttypid = t.oid
        left join pg_type as e on t.typelem = e.oid and t.typcategory = 'A'
        where
            a.attrelid = relation and a.attnum > 0 and not a.attisdropped
            -- A country is looked up by the IP, and never somebody's identifier.
            and (
                a.attname <> 'country'
                or c.relnamespace::regnamespace::text not in ('staging', 'intermediate', 'marts')
            )
    ),

    conditions as (
        select
            attnum,
            case
                when relation = 'staging.rejected_events'::regclass and attname = 'payload'
                    then 'warehouse.line_holds($1, payload, reason)'
                -- What tells for almost all rows stands outside the function, whose call costs more.
                when category = 'S'
                    then format(
                        '(%1$I = $1 or left(%1$I::text, 1) in (''{'', ''['') '
                        'and warehouse.holds($1, %1$I::text))',
                        attname
                    )
                when name in ('json', 'jsonb')
                    then format(
                        '(strpos(%1$I::text, to_json($1)::text) > 0 '
                        'and warehouse.holds($1, %1$I::jsonb))',
                        attname
                    )
                -- Hashes and digests: in so many random bytes any short text stands somewhere.
                when name = 'bytea' then format('%I = convert_to($1, ''UTF8'')', attname)
                when element_category = 'S' then format('$1 = any(%I::text [])', attname)
                when name in ('_json', '_jsonb')
                    then format(
                        'exists (select from unnest(%I) as e (v) where warehouse.holds($1, e.v::jsonb))',
                        attname
                    )
                when name = '_bytea' then format('convert_to($1, ''UTF8'') = any(%I)', attname)
            end as condition
        from columns
    ),

    scopes as (
        select
            case
                when not of_one_client then '$2::text is null'
                when exists (select from columns as c where c.attname = 'client_id')
                    then 'client_id = $2'
                when relation = 'staging.rejected_events'::regclass
                    then 'coalesce(warehouse.client_of(payload, reason), $2) = $2'
            end as scope
    )

    select
        s.scope || ' and coalesce('
        || string_agg(c.condition, ' or ' order by c.attnum) || ', false)'
    from conditions as c
    cross join scopes as s
    where c.condition is not null
    group by s.scope
$$;
