-- Receipts of erasures say what was changed instead of removed, and what can still see old rows.

alter table warehouse.erasures
add column changed jsonb not null default '{}',
add column files_removed jsonb not null default '{}',
add column files_left jsonb not null default '{}',
add column older_snapshots integer;

comment on column warehouse.erasures.changed is
'How many rows of others stay, by table, with the identifier cut out of their addresses.';
comment on column warehouse.erasures.files_removed is
'How many files that held the identifier were deleted, by folder.';
comment on column warehouse.erasures.files_left is
'How many files hold it, or could not be read, and were left, by folder.';
comment on column warehouse.erasures.older_snapshots is
'How many transactions that were open before the removal still were when the receipt was verified: they see the old rows until they end.';
