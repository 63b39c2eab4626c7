-- Erasure. Who was erased is known by a keyed hash alone.

create table warehouse.erasure_key (
    is_only_row boolean primary key default true check (is_only_row),
    "key" bytea not null
);

comment on table warehouse.erasure_key is
'The key of the hashes in warehouse.erasures, drawn with the first erasure. For the owner and the loader alone: whoever has it can test a guess at an identifier.';

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
    not_searched text [] not null default '{}',
    older_snapshots integer
);

comment on table warehouse.erasures is
'The receipts. An erasure that is not verified was interrupted: the same command resumes it.';
comment on column warehouse.erasures.is_of_one_client is
'The identifier was erased under one client alone, which the hash covers.';
comment on column warehouse.erasures.subject_hash is
'HMAC-SHA256 of the identifier under warehouse.erasure_key: all that is kept of it.';
comment on column warehouse.erasures.identifier_hash is
'The hash without the client, where subject_hash covers one: for lines that do not name their client.';
comment on column warehouse.erasures.identifier_length is
'In bytes: of a line that is no object, a loader hashes parts of this length.';
comment on column warehouse.erasures.state is
'begun: no line of the subject lands any more · removed: it is gone from staging and the facts · verified: marts are built without it and the search has been made.';
comment on column warehouse.erasures.batch_seq is
'The erasure''s own batch; NULL where nothing of the subject was found.';
comment on column warehouse.erasures.rows_forgotten_at is
'When warehouse.erased_rows was emptied: a model that has not read the erasure by then is recomputed in full.';
comment on column warehouse.erasures.removed is
'How many rows were deleted, by table; of marts, how many named the subject.';
comment on column warehouse.erasures.changed is
'How many rows of others stay, by table, with the identifier cut out of their addresses.';
comment on column warehouse.erasures.files_removed is
'How many files that held the identifier were deleted, by folder.';
comment on column warehouse.erasures.files_left is
'How many files hold it, or could not be read, and were left, by folder.';
comment on column warehouse.erasures.found is
'What the search found afterwards, by table: nothing, if all is well.';
comment on column warehouse.erasures.not_searched is
'Tables of other owners, which the warehouse''s owner may not read.';
comment on column warehouse.erasures.older_snapshots is
'How many transactions that began before the removal were open when the receipt was verified: they see the old rows until they end.';

create index erasures_by_subject on warehouse.erasures (subject_hash);

create table warehouse.erased_rows (
    model text not null,
    batch_seq bigint not null,
    content jsonb not null
);

comment on table warehouse.erased_rows is
'The rows of facts and entities that were erased, and the rows of models that were replaced for it: models downstream find the touched cells by them. Empty but during an erasure.';
comment on column warehouse.erased_rows.batch_seq is
'The erasure''s batch; of a replaced row, the batch up to which its model was built then.';

create index erased_rows_by_model on warehouse.erased_rows (model);
