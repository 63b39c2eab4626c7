-- Erasure. Identifiers of erased subjects are stored as keyed hashes only.

create table warehouse.erasure_key (
    is_only_row boolean primary key default true check (is_only_row),
    "key" bytea not null
);

comment on table warehouse.erasure_key is
'The key of the hashes in warehouse.erasures, generated at the first erasure. Only the owner and the loader may read it: whoever has it can test guesses of an identifier.';

create table warehouse.erasures (
    erasure_id bigint generated always as identity primary key,
    kind text not null check (kind in ('user_id', 'lead_id', 'anonymous_id', 'client_id')),
    is_of_one_client boolean not null,
    subject_hash bytea not null,
    identifier_hash bytea,
    identifier_length integer,
    state text not null default 'begun' check (state in ('begun', 'removed', 'verified')),
    requested_by text not null,
    begun_at timestamptz not null default clock_timestamp(),
    removed_at timestamptz,
    verified_at timestamptz,
    batch_seq bigint,
    rows_forgotten_at timestamptz,
    removed jsonb not null default '{}',
    changed jsonb not null default '{}',
    files_removed jsonb not null default '{}',
    files_left jsonb not null default '{}',
    found jsonb,
    not_searched text[] not null default '{}',
    older_snapshots integer
);

comment on table warehouse.erasures is
'One receipt per erasure. An erasure that is not verified was interrupted; the same command resumes it.';
comment on column warehouse.erasures.is_of_one_client is
'Whether the identifier was erased for one client only; then subject_hash covers the client, too.';
comment on column warehouse.erasures.subject_hash is
'HMAC-SHA256 of the identifier with warehouse.erasure_key. Nothing else of the identifier is kept.';
comment on column warehouse.erasures.identifier_hash is
'The hash without the client, if subject_hash covers a client: for lines that name no client.';
comment on column warehouse.erasures.identifier_length is
'Length of the identifier in bytes: in a line that is not a JSON object, a loader hashes parts of this length.';
comment on column warehouse.erasures.state is
'begun: lines of the subject are suppressed from now on · removed: the subject is removed from staging and the facts · verified: marts are rebuilt without it and the search was run.';
comment on column warehouse.erasures.batch_seq is
'The erasure''s own batch; NULL if nothing of the subject was found.';
comment on column warehouse.erasures.rows_forgotten_at is
'When the rows of this erasure were deleted from warehouse.erased_rows: a model that has not read the erasure by then is recomputed in full.';
comment on column warehouse.erasures.removed is
'Number of deleted rows by table; for marts, of rows that named the subject.';
comment on column warehouse.erasures.changed is
'Number of other subjects'' rows, by table, that stay with the identifier cut out of an address.';
comment on column warehouse.erasures.files_removed is
'Number of deleted files that held the identifier, by folder.';
comment on column warehouse.erasures.files_left is
'Number of files that still hold the identifier or could not be read, by folder.';
comment on column warehouse.erasures.found is
'Number of rows, by table, in which the final search still found the identifier: empty if the erasure is complete.';
comment on column warehouse.erasures.not_searched is
'Tables of other owners that the warehouse''s owner may not read.';
comment on column warehouse.erasures.older_snapshots is
'Number of transactions that began before the removal and were open at verification: they see the old rows until they end.';

create index erasures_by_subject on warehouse.erasures (subject_hash);

create table warehouse.erased_rows (
    model text not null,
    batch_seq bigint not null,
    content jsonb not null
);

comment on table warehouse.erased_rows is
'Erased rows of facts and entities, and rows of models that were replaced because of them: downstream models find the touched cells by these rows. Empty except during an erasure.';
comment on column warehouse.erased_rows.batch_seq is
'The erasure''s batch; for a replaced row, the batch up to which its model had been built.';

create index erased_rows_by_model on warehouse.erased_rows (model);
