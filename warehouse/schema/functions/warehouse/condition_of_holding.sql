-- The SQL condition for rows of a table that name or mention identifier $1 (only_named: only rows that
-- name it) and, if the erasure is for one client, belong to client $2. NULL if no row of the table can.
create or replace function warehouse.condition_of_holding(
    relation regclass, of_one_client boolean, only_named boolean default false
)
returns text
language sql stable as $$
    with

    columns as (
        select
            a.attname,
            a.attnum,
            n.nspname as relation_schema,
            t.typcategory as category,
            t.typname as name,
            e.typcategory as element_category,
            c.relnamespace::regnamespace::text || '.' || c.relname || '.' || a.attname in (
                'staging.event_batches.source', 'staging.loads.source', 'warehouse.run_events.job'
            ) as is_file,
            -- Id columns hold the identifier as a whole value, never as part of an address.
            case
                when
                    only_named
                    or a.attname in (
                        'actor', 'client_id', 'user_id', 'lead_id', 'anonymous_id', 'unit_id',
                        'development_id', 'visitor_id'
                    )
                    then 2
                else 1
            end as least_presence,
            -- Numbers in marts and bookkeeping tables are counts; in other owners' tables they may be ids.
            a.attname in (
                'actor', 'context', 'properties', 'metadata', 'event_data', 'canonical'
            )
            or n.nspname not in ('staging', 'intermediate', 'marts', 'export', 'warehouse') as has_numbers
        from pg_attribute as a
        inner join pg_class as c on a.attrelid = c.oid
        inner join pg_namespace as n on c.relnamespace = n.oid
        inner join pg_type as t on a.atttypid = t.oid
        left join pg_type as e on t.typelem = e.oid and t.typcategory = 'A'
        where
            a.attrelid = relation and a.attnum > 0 and not a.attisdropped
            -- A country comes from the IP look-up and is never an identifier.
            and (a.attname <> 'country' or n.nspname not in ('staging', 'intermediate', 'marts'))
            and not array[
                format('%s.%s', n.nspname, c.relname),
                format('%s.%s.%s', n.nspname, c.relname, a.attname)
            ] && warehouse.names_nobody()
            -- A referrer host is part of an address, so it mentions a subject but does not name it.
            and not (only_named and n.nspname = 'intermediate' and a.attname = 'referrer_host')
    ),

    -- The patterns rule out almost all rows before the functions are called, which cost more.
    conditions as (
        select
            attnum,
            case
                when relation = 'staging.rejected_events'::regclass and attname = 'payload'
                    then 'warehouse.line_holds($1, payload, reason)'
                when category = 'S'
                    then format(
                        '(lower(%1$I::text collate "C") like any (warehouse.like_patterns($1)) '
                        'and lower(%1$I::text collate "C") ~ warehouse.boundary_pattern($1) and ('
                        '%1$I::text = $1 '
                        'or warehouse.%2$I(warehouse.normalized_identifier($1), %1$I::text) >= %3$s))',
                        attname,
                        case when is_file then 'file_presence' else 'text_presence' end,
                        least_presence
                    )
                when name in ('json', 'jsonb')
                    then format(
                        '(lower(%1$I::text collate "C") like any (warehouse.like_patterns($1)) '
                        'and lower(%1$I::text collate "C") ~ warehouse.boundary_pattern($1) and '
                        'warehouse.json_presence('
                        'warehouse.normalized_identifier($1), warehouse.as_bytes(%1$I::text), 0, %2$L) >= %3$s)',
                        attname,
                        has_numbers,
                        least_presence
                    )
                    -- Members of an actor other than the ids may mention the identifier in an address.
                    || case
                        when attname = 'actor' and not only_named and relation_schema = 'staging'
                            then ' or (lower(actor::text collate "C") like any (warehouse.like_patterns($1)) '
                            'and lower(actor::text collate "C") ~ warehouse.boundary_pattern($1) '
                            'and warehouse.json_presence(warehouse.normalized_identifier($1), '
                            'warehouse.as_bytes((actor - warehouse.ids_of_actors())::text)) > 0)'
                        else ''
                    end
                -- Hashes and digests: random bytes contain any short text by chance, so compare them whole.
                when name = 'bytea' then format('%I = convert_to($1, ''UTF8'')', attname)
                when element_category = 'S' or name in ('_json', '_jsonb')
                    then format(
                        'exists (select 1 from unnest(%I::text []) as e (v) '
                        'where lower(e.v collate "C") like any (warehouse.like_patterns($1)) '
                        'and lower(e.v collate "C") ~ warehouse.boundary_pattern($1) '
                        'and warehouse.text_presence(warehouse.normalized_identifier($1), e.v) >= %s)',
                        attname, least_presence
                    )
                when name = '_bytea' then format('convert_to($1, ''UTF8'') = any(%I)', attname)
            end as condition
        from columns
    ),

    scopes as (
        select
            case
                when not of_one_client then '$2::text is null'
                when exists (select 1 from columns as c where c.attname = 'client_id')
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
