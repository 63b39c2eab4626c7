-- Locks (warehouse/locks.py): empty tables, so that only who has a right on one can take it. An advisory
-- lock may be taken by every login.

create table warehouse.lock_batch_seq ();
create table warehouse.lock_landing ();
create table warehouse.lock_partitions ();
create table warehouse.lock_access ();
create table warehouse.lock_build ();
create table warehouse.lock_dbt ();
create table warehouse.lock_erasure ();
create table warehouse.lock_checks ();
create table warehouse.lock_export ();
create table warehouse.lock_posts ();
create table warehouse.lock_drop_folder ();

comment on table warehouse.lock_batch_seq is 'Commits of batches, which are numbered in their order.';
comment on table warehouse.lock_landing is 'Chunks that land hold it shared, an erasure and the dropping of a month alone.';
comment on table warehouse.lock_partitions is 'Adding and dropping partitions of staging.raw_events.';
comment on table warehouse.lock_access is 'Giving rights to what was built (warehouse.apply_access).';
comment on table warehouse.lock_build is 'Building.';
comment on table warehouse.lock_dbt is 'Held shared by each dbt that a build has started: the next build waits for it.';
comment on table warehouse.lock_erasure is 'Erasing.';
comment on table warehouse.lock_checks is 'Checking.';
comment on table warehouse.lock_export is 'Exporting the marketing row.';
comment on table warehouse.lock_posts is 'Sending what people are notified of.';
comment on table warehouse.lock_drop_folder is 'Loading dropped files.';

-- A model's transaction locks its row.
create table warehouse.lock_models (
    model text primary key
);

comment on table warehouse.lock_models is 'A row for each model, locked by the transaction that writes it (warehouse.lock_model).';
