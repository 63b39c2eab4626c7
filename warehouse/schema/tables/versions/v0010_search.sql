-- What the search of erasures finds, and what it leaves alone: a refused line is read by one rule,
-- here and by the loader (ingestion/privacy/suppression.py), and bytes that are no text are compared whole.

alter table warehouse.erasures add column identifier_length integer;
alter table warehouse.erasures add column identifier_hash bytea;
alter table warehouse.erasures add column not_searched text[] not null default '{}';

comment on column warehouse.erasures.identifier_length is
'In bytes: of a line that is no object, a loader hashes what is as long. NULL of older erasures.';
comment on column warehouse.erasures.identifier_hash is
'The hash without the client, where subject_hash covers one: for lines that do not tell theirs.';
comment on column warehouse.erasures.not_searched is
'Tables of others, which the owner may not read.';
