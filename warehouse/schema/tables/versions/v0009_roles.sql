-- Who may do what. Roles are the server's, not the database's: `warehouse init` makes them, or says
-- how (warehouse/schema/access/roles.py). What stands here works without them, too.

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
