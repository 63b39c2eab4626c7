-- Tenants, keys, and the access that models declare. Grants and policies are in schema/access.

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

create table warehouse.keys (
    key_id text primary key,
    kind text not null check (kind in ('browser', 'server', 'platform', 'read', 'marketing')),
    -- A key has 256 random bits: nobody can find it by trying, so a fast hash is safe.
    digest bytea not null check (octet_length(digest) = 32),
    client_id text check (client_id not in ('', 'none')),
    origins text[] not null default '{}',
    role_name name,
    name text check (name <> ''),
    per_minute integer not null check (per_minute > 0),
    created_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz,
    revoked_at timestamptz,
    check ((client_id is not null) = (kind in ('browser', 'server'))),
    check ((role_name is not null) = (kind in ('read', 'marketing'))),
    check (kind in ('browser', 'marketing') or origins = '{}'),
    check (kind <> 'browser' or origins <> '{}')
);

comment on table warehouse.keys is
'The keys of the HTTP servers: those that send events and those that read. Only hashes are stored.';
comment on column warehouse.keys.key_id is 'Also a part of the key itself.';
comment on column warehouse.keys.digest is 'SHA-256 of the whole key.';
comment on column warehouse.keys.client_id is 'The client whose events the key may send.';
comment on column warehouse.keys.origins is 'The origins of the pages that may use the key.';
comment on column warehouse.keys.role_name is 'The role as which a reading key reads.';
comment on column warehouse.keys.per_minute is
'How many events a minute a sending key may send, or how many requests a reading key may make.';
