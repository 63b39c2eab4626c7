-- Applies the access that models declare: owners of relations, grants and row-level security. Changes
-- only what differs. Does nothing if the roles do not exist or the caller may not use them.
create or replace function warehouse.apply_access() returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    one_statement text;
    undeclared text;
begin
    if
        not exists (
            select 1 from pg_roles where rolname = 'warehouse_transformer' and pg_has_role(oid, 'set')
        )
        or (
            select count(*) < 2 from pg_roles
            where rolname in ('warehouse_analyst', 'warehouse_tenant')
        )
    then
        return;
    end if;
    lock table warehouse.lock_access in exclusive mode;

    for one_statement in
        select format('alter %s %s owner to warehouse_transformer', o.kind, o.object)
        from warehouse.objects as o
        where
            o.schema_name in ('intermediate', 'marts')
            and (
                o.kind = 'schema'
                or (o.schema_name, o.name) in (
                    select a.schema_name, a.name from warehouse.access as a
                )
            )
            and o.column_name is null
            and pg_get_userbyid(o.owner_id) <> 'warehouse_transformer'
        order by o.kind = 'schema' desc
    loop
        execute one_statement;
    end loop;

    for one_statement in
        select p.statement
        from warehouse.access as a
        inner join pg_class as c
            on
                c.oid = to_regclass(format('%I.%I', a.schema_name, a.name))
                and c.relkind in ('r', 'p')
        cross join lateral warehouse.policy_statements(c.oid, a.access) as p (statement)
    loop
        execute one_statement;
    end loop;

    -- Views and functions in marts read other relations with the caller's permissions, so the caller
    -- needs grants on the columns that they read in intermediate.
    create temporary table wanted_grants on commit drop as
    with

    readers (access, role) as (
        values
        ('analysts', 'warehouse_analyst'),
        ('client', 'warehouse_analyst'),
        ('client', 'warehouse_tenant'),
        ('client_and_user', 'warehouse_analyst'),
        ('client_and_user', 'warehouse_tenant'),
        ('user', 'warehouse_analyst'),
        ('user', 'warehouse_tenant')
    ),

    declared as (
        select
            o.kind,
            o.schema_name,
            o.name,
            r.role,
            case o.kind when 'function' then 'execute' else 'select' end as privilege
        from warehouse.objects as o
        inner join warehouse.access as a on o.schema_name = a.schema_name and o.name = a.name
        inner join readers as r on a.access = r.access
        where o.schema_name = 'marts' and o.column_name is null
    ),

    reading (schema_name, name, relation, column_number) as (
        select n.nspname::text, v.relname::text, d.refobjid, d.refobjsubid
        from pg_depend as d
        inner join pg_rewrite as w on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid
        inner join pg_class as v on w.ev_class = v.oid
        inner join pg_namespace as n on v.relnamespace = n.oid
        where d.refclassid = 'pg_class'::regclass
        union
        -- On a cluster, a function of the same name in intermediate stands for one in marts: its body is
        -- parsed (dbt_project/macros/access.sql).
        select 'marts', p.proname::text, d.refobjid, d.refobjsubid
        from pg_depend as d
        inner join pg_proc as p on d.classid = 'pg_proc'::regclass and d.objid = p.oid
        where
            d.refclassid = 'pg_class'::regclass
            and p.pronamespace in ('intermediate'::regnamespace, 'marts'::regnamespace)
    )

    select
        'schema' as kind,
        'marts' as schema_name,
        'marts' as name,
        null::text as column_name,
        role,
        'usage' as privilege
    from readers
    union
    -- Nodes of a cluster look up what views read by name, as the role that reads.
    select
        'schema',
        'intermediate',
        'intermediate',
        null,
        role,
        'usage'
    from readers
    where warehouse.is_distributed('staging.raw_events'::regclass)
    union
    select kind, schema_name, name, null, role, privilege from declared
    union
    select 'table', 'intermediate', c.relname::text, a.attname::text, e.role, 'select'
    from declared as e
    inner join reading as g on e.schema_name = g.schema_name and e.name = g.name
    inner join pg_class as c on g.relation = c.oid and c.relnamespace = 'intermediate'::regnamespace
    inner join pg_attribute as a on g.relation = a.attrelid and g.column_number = a.attnum;

    select w.name into undeclared
    from pg_temp.wanted_grants as w
    left join warehouse.access as a on w.schema_name = a.schema_name and w.name = a.name
    where
        w.role = 'warehouse_tenant' and w.schema_name = 'intermediate' and w.kind <> 'schema'
        and coalesce(a.access in ('builders', 'analysts'), true)
    limit 1;
    if found then
        raise exception 'a mart of tenants reads intermediate.%, which declares no access', undeclared
        using hint = 'Declare `access` in its meta: see CONTRIBUTING.md.';
    end if;

    for one_statement in
        select d.statement
        from warehouse.grant_differences(
            array['intermediate', 'marts'], (select jsonb_agg(w) from pg_temp.wanted_grants as w)
        ) as d (statement)
    loop
        execute one_statement;
    end loop;
    drop table pg_temp.wanted_grants;
end
$$;
