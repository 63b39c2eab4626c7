-- Erasure, and retention. Who was erased is known by a keyed hash alone.

create table warehouse.erasure_key (
    is_the_one boolean primary key default true check (is_the_one),
    "key" bytea not null
);

comment on table warehouse.erasure_key is
'The key of the hashes in warehouse.erasures, drawn with the first erasure. For the owner and the loader alone: with it a guess at an identifier can be tried.';

create table warehouse.erasures (
    erasure_id bigint generated always as identity primary key,
    kind text not null check (kind in ('user_id', 'lead_id', 'anonymous_id', 'client_id')),
    is_of_one_client boolean not null,
    subject_hash bytea not null,
    state text not null default 'begun' check (state in ('begun', 'removed', 'verified')),
    requested_by text not null,
    begun_at timestamptz not null default clock_timestamp(),
    removed_at timestamptz,
    verified_at timestamptz,
    batch_seq bigint,
    rows_forgotten_at timestamptz,
    removed jsonb not null default '{}',
    found jsonb
);

comment on table warehouse.erasures is
'The receipts. An erasure that is not verified was broken off: the same command takes it up again.';
comment on column warehouse.erasures.is_of_one_client is
'The identifier was erased under one client alone, which the hash covers.';
comment on column warehouse.erasures.subject_hash is
'HMAC-SHA256 of the identifier under warehouse.erasure_key: all that is kept of it.';
comment on column warehouse.erasures.state is
'begun: no line of the subject lands any more · removed: it is gone from what landed and from the facts · verified: marts are built without it and the search has been made.';
comment on column warehouse.erasures.batch_seq is
'The erasure''s own batch; empty where nothing of the subject was there.';
comment on column warehouse.erasures.removed is
'How many rows went, by table; of marts, how many named the subject.';
comment on column warehouse.erasures.found is
'What the search found afterwards, by table: nothing, if all is well.';

comment on column warehouse.erasures.rows_forgotten_at is
'When warehouse.erased_rows was emptied: a model that has not read the erasure by then is recomputed in full.';

create table warehouse.erased_rows (
    model text not null,
    batch_seq bigint not null,
    content jsonb not null
);

comment on table warehouse.erased_rows is
'What facts and entities were erased, and the rows of models that were replaced for it: models downstream find the cells that this touches. Empty but while an erasure is under way.';
comment on column warehouse.erased_rows.batch_seq is
'The erasure''s batch; of a replaced row, the batch up to which its model was built then.';

create index erased_rows_by_model on warehouse.erased_rows (model);

create index erasures_by_subject on warehouse.erasures (subject_hash);

comment on column staging.event_batches.kind is
'events; the entity that the batch changed: clients, units, users, documents; or erasure, which took events out of earlier batches.';
comment on column staging.event_batches.load_id is
'The load that it is a chunk of; of an erasure, which is no load, its batch_id below zero.';

comment on column staging.event_batches.erased is
'Accepted events that are gone since: an erasure took them out, or a rebuild of the typed facts was allowed to lose what retention had dropped. What is modelled is fewer by these.';

alter table staging.event_batches add column erased_by bigint;

comment on column staging.event_batches.erased_by is
'The batch_seq of the last erasure that took events out of this batch.';

create index event_batches_erasures on staging.event_batches (batch_seq) where kind = 'erasure';
create index event_batches_erased on staging.event_batches (erased_by) where erased_by is not null;

-- Retention --------------------------------------------------------------------------------------

create table staging.dropped_months (
    month date primary key,
    events bigint not null,
    dropped_at timestamptz not null default clock_timestamp()
);

comment on table staging.dropped_months is
'The months of staging.raw_events that retention has dropped, with how many events: those are in the typed facts alone.';
comment on column staging.dropped_months.dropped_at is 'The last time: what lands of such a month later is dropped again.';

alter table staging.rejected_events add column expired_at timestamptz;

comment on column staging.rejected_events.expired_at is
'When its payload and detail were removed, 30 days after receipt.';

alter table warehouse.builds add column allows_lost_events boolean not null default false;

comment on column warehouse.builds.allows_lost_events is
'Typed facts may be rebuilt although retention has dropped some of their events.';
