-- Tenants, and the access that models declare. Grants and policies are in schema/access.

create table warehouse.tenants (
    role_name name primary key,
    -- Reserved values: _platform is no client, '' and none stand for unknown.
    client_id text not null check (client_id not in ('', '_platform', 'none')),
    user_id text check (user_id not in ('', 'none'))
);

comment on table warehouse.tenants is
'Which rows a tenant''s role sees: those of its client or, with a user_id, only those of that user. Only the owner writes here; a role without a row sees nothing.';
comment on column warehouse.tenants.role_name is
'A role without login that is a member of warehouse_tenant; the API switches to it.';
comment on column warehouse.tenants.user_id is 'NULL for all users of the client.';

create table warehouse.access (
    schema_name text not null check (schema_name in ('intermediate', 'marts')),
    name text not null,
    access text not null
    check (access in ('builders', 'analysts', 'client', 'client_and_user', 'user', 'shared')),
    primary key (schema_name, name)
);

comment on table warehouse.access is
'Who may read each relation and function of dbt, as declared in its meta. Written by every build, read by `warehouse init`.';
comment on column warehouse.access.access is
'builders: only builds. analysts: builds and analysts. client, client_and_user, user: tenants too, limited to their own rows by these columns. shared: rows that belong to no tenant and that marts of tenants read.';
