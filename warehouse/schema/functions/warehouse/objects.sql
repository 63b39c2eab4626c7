create or replace view warehouse.objects as
select
    'database' as kind,
    'database' as schema_name,
    datname::text as name,
    quote_ident(datname) as object,
    null::text as column_name,
    datdba as owner_id,
    coalesce(datacl, acldefault('d', datdba)) as acl
from pg_catalog.pg_database
where datname = current_database()
union all
select
    'schema',
    nspname::text,
    nspname::text,
    quote_ident(nspname),
    null,
    nspowner,
    coalesce(nspacl, acldefault('n', nspowner))
from pg_catalog.pg_namespace
where nspname in ('staging', 'intermediate', 'marts', 'export', 'warehouse', 'public')
union all
select
    case c.relkind when 'S' then 'sequence' else 'table' end,
    n.nspname::text,
    c.relname::text,
    format('%I.%I', n.nspname, c.relname),
    null,
    c.relowner,
    c.relacl
from pg_catalog.pg_class as c
inner join pg_catalog.pg_namespace as n on c.relnamespace = n.oid
where
    n.nspname in ('staging', 'intermediate', 'marts', 'export', 'warehouse')
    and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
union all
select
    'table',
    n.nspname::text,
    c.relname::text,
    format('%I.%I', n.nspname, c.relname),
    a.attname::text,
    c.relowner,
    a.attacl
from pg_catalog.pg_attribute as a
inner join pg_catalog.pg_class as c on a.attrelid = c.oid
inner join pg_catalog.pg_namespace as n on c.relnamespace = n.oid
where
    n.nspname in ('staging', 'intermediate', 'marts', 'export', 'warehouse')
    and a.attacl is not null
    and not a.attisdropped
union all
select
    'function',
    n.nspname::text,
    p.proname::text,
    format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)),
    null,
    p.proowner,
    coalesce(p.proacl, acldefault('f', p.proowner))
from pg_catalog.pg_proc as p
inner join pg_catalog.pg_namespace as n on p.pronamespace = n.oid
where
    n.nspname in ('staging', 'intermediate', 'marts', 'export', 'warehouse')
    -- The warehouse has no procedures; those of builders are their own.
    and p.prokind <> 'p';

comment on view warehouse.objects is 'All objects that grants can be made on; columns only if they have grants of their own.';
