drop function if exists warehouse.condition_of_holding(regclass, boolean);

-- What rows of a table fulfil that name or mention $1, or only those that name it; under the client
-- $2 where it is one client's alone. NULL for a table that can't.
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
            -- Whose event it is: a whole value, and no address.
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
            -- Numbers of marts and of the warehouse's own are counts; of others' tables that is not known.
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
            -- A country is looked up by the IP, and never somebody's identifier.
            and (a.attname <> 'country' or n.nspname not in ('staging', 'intermediate', 'marts'))
            and not array[
                format('%s.%s', n.nspname, c.relname),
                format('%s.%s.%s', n.nspname, c.relname, a.attname)
            ] && warehouse.names_nobody()
            -- A part of an address, where it is one's own.
            and not (only_named and n.nspname = 'intermediate' and a.attname = 'referrer_host')
    ),

    -- What tells for almost all rows stands outside the functions, whose calls cost more.
    conditions as (
        select
            attnum,
            case
                when relation = 'staging.rejected_events'::regclass and attname = 'payload'
                    then 'warehouse.line_holds($1, payload, reason)'
                when category = 'S'
                    then format(
                        '(lower(%1$I::text collate "C") like any (warehouse.patterns($1)) '
                        'and lower(%1$I::text collate "C") ~ warehouse.bounded($1) and ('
                        '%1$I::text = $1 '
                        'or warehouse.%2$I(warehouse.normal($1), %1$I::text) >= %3$s))',
                        attname,
                        case when is_file then 'file_presence' else 'presence' end,
                        least_presence
                    )
                when name in ('json', 'jsonb')
                    then format(
                        '(lower(%1$I::text collate "C") like any (warehouse.patterns($1)) '
                        'and lower(%1$I::text collate "C") ~ warehouse.bounded($1) and '
                        'warehouse.json_presence('
                        'warehouse.normal($1), warehouse.as_bytes(%1$I::text), 0, %2$L) >= %3$s)',
                        attname,
                        has_numbers,
                        least_presence
                    )
                    -- Of other members than the ids addresses mention somebody.
                    || case
                        when attname = 'actor' and not only_named and relation_schema = 'staging'
                            then ' or (lower(actor::text collate "C") like any (warehouse.patterns($1)) '
                            'and lower(actor::text collate "C") ~ warehouse.bounded($1) '
                            'and warehouse.json_presence(warehouse.normal($1), '
                            'warehouse.as_bytes((actor - warehouse.ids_of_actors())::text)) > 0)'
                        else ''
                    end
                -- Hashes and digests: in so many random bytes any short text stands somewhere.
                when name = 'bytea' then format('%I = convert_to($1, ''UTF8'')', attname)
                when element_category = 'S' or name in ('_json', '_jsonb')
                    then format(
                        'exists (select from unnest(%I::text []) as e (v) '
                        'where lower(e.v collate "C") like any (warehouse.patterns($1)) '
                        'and lower(e.v collate "C") ~ warehouse.bounded($1) '
                        'and warehouse.presence(warehouse.normal($1), e.v) >= %s)',
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
