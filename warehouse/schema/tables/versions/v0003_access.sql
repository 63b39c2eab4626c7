-- Who sees what: tenants, and the access that models declare. Grants and policies are in schema/access.

create table warehouse.tenants (
    role_name name primary key,
    -- These name nobody: events of no client, and unknown people.
    client_id text not null check (client_id not in ('', '_platform', 'none')),
    user_id text check (user_id not in ('', 'none'))
);

comment on table warehouse.tenants is
'Whose rows a tenant''s role sees: those of its client, or with a user only that user''s own. Written by the owner alone; a role that is not here sees none.';
comment on column warehouse.tenants.role_name is
'A role that cannot log in, a member of warehouse_tenant; the API switches to it.';
comment on column warehouse.tenants.user_id is 'NULL for all of the client.';

create table warehouse.access (
    schema_name text not null check (schema_name in ('intermediate', 'marts')),
    name text not null,
    access text not null
    check (access in ('builders', 'analysts', 'client', 'client_and_user', 'user', 'shared')),
    primary key (schema_name, name)
);

comment on table warehouse.access is
'Everything that dbt makes, and who may read it, as models and functions declare it: written by every build, read by `warehouse init`.';
comment on column warehouse.access.access is
'builders: nobody else. analysts: analysts alone. client, client_and_user, user: also tenants, their own rows by these columns. shared: rows of nobody, which marts read for everybody.';
