-- Who may do what. Roles are the server's, not the database's: `warehouse init` makes them, or says
-- how (ingestion/roles.py). What stands here works without them, too.

-- Made here and not by dbt, whose role may create tables in it, but no schemas.
create schema if not exists intermediate;

-- Tenants ----------------------------------------------------------------------------------------

create table warehouse.tenants (
    role_name name primary key,
    -- These are nobody's: events of no client, and what is known of no one.
    client_id text not null check (client_id not in ('', '_platform', 'none')),
    user_id text check (user_id not in ('', 'none'))
);

comment on table warehouse.tenants is
'Whose rows a login role sees: those of its client, or with a user only that user''s own. Written by the owner alone; a role that is not here sees none.';
comment on column warehouse.tenants.role_name is 'The login role, a member of warehouse_tenant.';
comment on column warehouse.tenants.user_id is 'Empty for all of the client.';

-- Policies of marts look here, with the rights of who asks.
alter table warehouse.tenants enable row level security;
create policy own_row on warehouse.tenants for select using (role_name = current_user);

-- What models declare ----------------------------------------------------------------------------

create table warehouse.access (
    schema_name text not null check (schema_name in ('intermediate', 'marts')),
    name text not null,
    access text not null
    check (access in ('builders', 'analysts', 'client', 'client_and_user', 'user', 'shared')),
    primary key (schema_name, name)
);

comment on table warehouse.access is
'All that dbt makes, and who may read it as models and functions declare it: written by every build, and kept for `warehouse init`.';
comment on column warehouse.access.access is
'builders: nobody else. analysts: they alone. client, client_and_user, user: tenants, too, of these columns their own rows. shared: nobody''s rows, which marts read for whomever.';

-- What was built before there were roles is handed over to them with what will be.
insert into warehouse.access (schema_name, name, access)
select n.nspname, c.relname, 'builders'
from pg_catalog.pg_class as c
inner join pg_catalog.pg_namespace as n on c.relnamespace = n.oid
where
    n.nspname in ('intermediate', 'marts')
    and c.relkind in ('r', 'v')
    and (
        c.relname in (select model from warehouse.model_offsets)
        or n.nspname || '.' || c.relname in (select view_name from warehouse.view_digests)
        or c.relname = 'referrer_sites'
    )
union
select 'marts', proname, 'builders'
from pg_catalog.pg_proc
where pronamespace = 'marts'::regnamespace;

-- Rights as the catalogue has them ---------------------------------------------------------------

create view warehouse.objects as
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
where n.nspname in ('staging', 'intermediate', 'marts', 'export', 'warehouse');

comment on view warehouse.objects is 'All that rights can be given on, columns where they have rights of their own.';

create view warehouse.rights as
select
    o.kind,
    o.schema_name,
    o.name,
    o.object,
    o.column_name,
    o.owner_id,
    coalesce(r.rolname::text, 'public') as role,
    lower(a.privilege_type) as privilege
from warehouse.objects as o
cross join lateral aclexplode(o.acl) as a
left join pg_catalog.pg_roles as r on a.grantee = r.oid
where
    a.grantee <> o.owner_id
    and (
        a.grantee = 0
        or r.rolname in (
            'warehouse_loader', 'warehouse_transformer', 'warehouse_analyst', 'warehouse_tenant',
            'warehouse_marketing'
        )
    )
    -- What everybody may do there harms nobody.
    and not (o.schema_name = 'public' and a.privilege_type = 'USAGE');

comment on view warehouse.rights is
'What the group roles and everybody (public) may do, beside what they own.';

-- The statements that make the rights in these schemas equal to the wanted ones, if any.
-- Rights of other roles than the warehouse's are nobody's business here.
create function warehouse.differences(schemas text [], wanted jsonb) returns setof text
language sql stable set search_path = pg_catalog, pg_temp as $$
    with

    wanted_rights as (
        select distinct o.kind, o.object, w.column_name, w.role, w.privilege
        from jsonb_to_recordset(wanted) as w (
            kind text, schema_name text, name text, column_name text, role text, privilege text
        )
        inner join warehouse.objects as o
            on
                w.kind = o.kind
                and w.schema_name = o.schema_name
                and w.name = o.name
                and o.column_name is null
        inner join pg_roles as r on w.role = r.rolname and r.oid <> o.owner_id
    ),

    existing as (
        select kind, object, column_name, role, privilege
        from warehouse.rights
        where
            schema_name = any(schemas)
            -- What others keep where dbt builds is theirs.
            and (schema_name not in ('intermediate', 'marts') or pg_has_role(owner_id, 'usage'))
    ),

    surplus as (
        select * from existing
        except
        select * from wanted_rights
    ),

    missing as (
        select * from wanted_rights
        except
        select * from existing
        union
        -- Revoking a right on a table takes that on its columns along.
        select w.*
        from wanted_rights as w
        inner join surplus as s
            on
                w.kind = s.kind and w.object = s.object and w.role = s.role
                and w.privilege = s.privilege and s.column_name is null
    ),

    changes as (
        select 1 as place, 'revoke' as verb, 'from' as preposition, * from surplus
        union all
        select 2, 'grant', 'to', * from missing
    )

    select format(
        '%s %s%s on %s %s %s %I',
        verb,
        privilege,
        ' (' || string_agg(quote_ident(column_name), ', ' order by column_name) || ')',
        kind,
        object,
        preposition,
        role
    )
    from changes
    group by place, verb, preposition, privilege, kind, object, role, column_name is null
    order by place, column_name is null desc, object, role, privilege
$$;

-- The statements that hold a table's rows back from tenants; none where they are held back so.
-- What a policy says is told by its name: one that should say something else gets another.
create function warehouse.protection(relation regclass, access text) returns setof text
language sql stable set search_path = pg_catalog, pg_temp as $$
    with

    protected as (
        select
            relrowsecurity as is_protected,
            '(select %s from warehouse.tenants as t where t.role_name = current_user)' as mapped
        from pg_class
        where oid = relation
    ),

    -- Each asks once per query, not per row, whose rows these are: that is what `select` is for.
    wanted (name, role, condition) as (
        select 'analysts', 'warehouse_analyst', 'true'
        from protected
        where
            access in ('client', 'client_and_user', 'user')
            -- Once it was for tenants.
            or (access = 'analysts' and is_protected)
        union all
        select
            'tenant_' || access,
            'warehouse_tenant',
            case access
                when 'client'
                    then
                        'client_id = ' || format(mapped, 't.client_id')
                        || ' and ' || format(mapped, 't.user_id is null')
                when 'client_and_user'
                    then
                        'client_id = ' || format(mapped, 't.client_id')
                        || ' and (' || format(mapped, 't.user_id is null')
                        || ' or user_id = ' || format(mapped, 't.user_id') || ')'
                when 'user'
                    then 'user_id = ' || format(mapped, 't.user_id')
            end
        from protected
        where access in ('client', 'client_and_user', 'user')
    ),

    existing as (
        select polname::text as name from pg_policy where polrelid = relation
    )

    select format('alter table %s enable row level security', relation)
    from protected
    where not is_protected and access in ('client', 'client_and_user', 'user')
    union all
    select format('drop policy %I on %s', e.name, relation)
    from existing as e
    where
        (e.name = 'analysts' or e.name like 'tenant\_%')
        and e.name not in (select w.name from wanted as w)
    union all
    select format(
        'create policy %I on %s for select to %I using (%s)',
        w.name, relation, w.role, w.condition
    )
    from wanted as w
    where w.name not in (select e.name from existing as e)
$$;

-- Makes what models declare so: whose the relations are, who may read them, and which rows. Alters
-- only what differs. Does nothing before there are roles, or where they are not the caller's to use.
create function warehouse.apply_access() returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    one_statement text;
    undeclared text;
begin
    if
        not exists (
            select from pg_roles where rolname = 'warehouse_transformer' and pg_has_role(oid, 'set')
        )
        or (
            select count(*) < 2 from pg_roles
            where rolname in ('warehouse_analyst', 'warehouse_tenant')
        )
    then
        return;
    end if;
    perform pg_advisory_xact_lock(7110003);

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
        cross join lateral warehouse.protection(c.oid, a.access) as p (statement)
    loop
        execute one_statement;
    end loop;

    -- What views and functions read beside marts, they read with the rights of who asks.
    create temporary table wanted_rights on commit drop as
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
        select n.nspname::text, p.proname::text, d.refobjid, d.refobjsubid
        from pg_depend as d
        inner join pg_proc as p on d.classid = 'pg_proc'::regclass and d.objid = p.oid
        inner join pg_namespace as n on p.pronamespace = n.oid
        where d.refclassid = 'pg_class'::regclass
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
    select kind, schema_name, name, null, role, privilege from declared
    union
    select 'table', 'intermediate', c.relname::text, a.attname::text, e.role, 'select'
    from declared as e
    inner join reading as g on e.schema_name = g.schema_name and e.name = g.name
    inner join pg_class as c on g.relation = c.oid and c.relnamespace = 'intermediate'::regnamespace
    inner join pg_attribute as a on g.relation = a.attrelid and g.column_number = a.attnum;

    select w.name into undeclared
    from pg_temp.wanted_rights as w
    left join warehouse.access as a on w.schema_name = a.schema_name and w.name = a.name
    where
        w.role = 'warehouse_tenant' and w.schema_name = 'intermediate'
        and coalesce(a.access in ('builders', 'analysts'), true)
    limit 1;
    if found then
        raise exception 'a mart of tenants reads intermediate.%, which declares no access', undeclared
        using hint = 'Say in its meta whose its rows are: see CONTRIBUTING.md.';
    end if;

    for one_statement in
        select d.statement
        from warehouse.differences(
            array['intermediate', 'marts'], (select jsonb_agg(w) from pg_temp.wanted_rights as w)
        ) as d (statement)
    loop
        execute one_statement;
    end loop;
    drop table pg_temp.wanted_rights;
end
$$;

-- Where builds stand is read by views and functions for whoever asks, like warehouse.stands_at.
alter function warehouse.last_as_of() security definer set search_path = pg_catalog, pg_temp;
