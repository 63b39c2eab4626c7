-- What incremental builds need: pinned builds, offsets, what they wrote, checks, locks.

-- dbt's role may create tables in these, but no schemas.
create schema intermediate;
create schema marts;

-- Builds.

create table warehouse.builds (
    invocation_id text primary key,
    batch_seq bigint not null,
    as_of timestamptz not null,
    window_start date,
    window_end date,
    full_refresh boolean not null,
    code_digest text,
    models text [],
    allows_lost_events boolean not null default false,
    state text not null default 'running' check (state in ('running', 'done', 'failed')),
    started_at timestamptz not null default clock_timestamp(),
    ended_at timestamptz,
    reported_to_dagster boolean not null default false,
    check ((window_start is null) = (window_end is null) and window_start < window_end)
);

comment on table warehouse.builds is
'One row per build, keyed by dbt''s invocation id. What a build reads is pinned once, so that all its models describe the same data.';
comment on column warehouse.builds.batch_seq is
'The high-water mark: the highest batch that the build reads.';
comment on column warehouse.builds.as_of is 'The instant that the build looks from.';
comment on column warehouse.builds.window_start is
'A backfill recomputes [window_start, window_end) and moves no offset.';
comment on column warehouse.builds.code_digest is
'Digest of the dbt project''s files, NULL for backfills: shows whether the code has changed since.';
comment on column warehouse.builds.models is 'The models to build; NULL for all of them.';
comment on column warehouse.builds.allows_lost_events is
'Typed facts may be rebuilt although some of their events have expired.';
comment on column warehouse.builds.reported_to_dagster is
'Whether a run has reported to Dagster what the build wrote (see warehouse.touched_periods).';

create index on warehouse.builds (started_at);

-- Offsets.

create table warehouse.model_offsets (
    model text primary key,
    batch_seq bigint not null,
    as_of timestamptz not null,
    checksum text not null,
    moved_at timestamptz not null default clock_timestamp(),
    row_count bigint,
    unanalyzed bigint not null default 0
);

comment on table warehouse.model_offsets is
'How far each model has read: all batches up to batch_seq, and of them the events before as_of. Moved in the transaction that writes the model''s rows.';
comment on column warehouse.model_offsets.as_of is
'infinity for typed facts, which hold every event: marts decide which of them are visible.';
comment on column warehouse.model_offsets.checksum is
'Of the model''s code: a model whose code changed is rebuilt.';
comment on column warehouse.model_offsets.row_count is 'Rows of the model.';
comment on column warehouse.model_offsets.unanalyzed is
'Rows that builds have written or deleted since they last took statistics of the model.';

create table warehouse.time_dependent_models (
    model text primary key,
    statements text [] not null
);

comment on table warehouse.time_dependent_models is
'Models whose rows change with as_of alone, with the SQL that rewrites them, so that a build without unread input needs no dbt.';

create table warehouse.view_digests (
    view_name text primary key,
    digest text not null
);

comment on table warehouse.view_digests is
'The text that each view was made from: a view is replaced only when it changes.';

-- What builds wrote.

create table warehouse.touched_periods (
    invocation_id text not null,
    model text not null,
    period_start date,
    rows_written bigint not null,
    from_batch bigint not null,
    to_batch bigint not null
);

comment on table warehouse.touched_periods is
'What each build of the last week wrote: one row per model, and one per day, week or month where the model has periods.';
comment on column warehouse.touched_periods.period_start is
'First day of the period; NULL in the row for the whole model.';
comment on column warehouse.touched_periods.rows_written is
'Rows that the build wrote; for a model that was rebuilt or depends on time, all its rows.';
comment on column warehouse.touched_periods.from_batch is 'The build read the batches after this one.';
comment on column warehouse.touched_periods.to_batch is 'The last batch that the build read.';

create index on warehouse.touched_periods (invocation_id);

create table warehouse.restatements (
    restatement_id bigint generated always as identity primary key,
    mart text not null,
    client_id text not null,
    period text not null,
    old_values jsonb not null,
    new_values jsonb,
    cause text not null check (cause in ('late events', 'erasure', 'entity change', 'rebuild')),
    run text not null,
    restated_at timestamptz not null default clock_timestamp()
);

comment on table warehouse.restatements is
'Published figures of a closed period that have changed since, written in the transaction that replaced them.';
comment on column warehouse.restatements.new_values is 'NULL where the row is gone.';

create index on warehouse.restatements (mart, client_id, period);

-- Checks.

create table warehouse.check_results (
    check_name text not null,
    checked_at timestamptz not null default clock_timestamp(),
    source text not null check (source in ('dbt', 'great_expectations')),
    model text,
    severity text not null check (severity in ('error', 'warn')),
    passed boolean not null,
    failures bigint,
    detail text,
    batch_seq bigint not null,
    as_of timestamptz,
    primary key (check_name, checked_at)
);

comment on table warehouse.check_results is
'Every check that ran. Nothing is exported while the latest result of any check of severity error is a failure.';
comment on column warehouse.check_results.batch_seq is
'The batch up to which the checked rows were built or landed.';

-- The latest result of each check, without reading and sorting all of them.
create index check_results_latest on warehouse.check_results (check_name, checked_at desc)
include (model, severity, passed);

-- Functions, views and grants.

create table warehouse.applied_files (
    name text primary key,
    digest text not null
);

comment on table warehouse.applied_files is
'What each file of functions, views and grants was when it was last run: `warehouse init` runs those that have changed.';

-- Locks (warehouse/locks.py): empty tables, so that only a role with a grant on one can take it.
-- Every login could take an advisory lock.

create table warehouse.lock_batch_seq ();
create table warehouse.lock_landing ();
create table warehouse.lock_partitions ();
create table warehouse.lock_access ();
create table warehouse.lock_build ();
create table warehouse.lock_dbt ();
create table warehouse.lock_erasure ();
create table warehouse.lock_checks ();
create table warehouse.lock_export ();
create table warehouse.lock_notifications ();
create table warehouse.lock_drop_folder ();

comment on table warehouse.lock_batch_seq is 'Commits of batches, which are numbered in their order.';
comment on table warehouse.lock_landing is 'Held shared by chunks that land, exclusively by an erasure or the expiry of a month.';
comment on table warehouse.lock_partitions is 'Adding and dropping partitions of staging.raw_events.';
comment on table warehouse.lock_access is 'Granting access to what was built (warehouse.apply_access).';
comment on table warehouse.lock_build is 'Building.';
comment on table warehouse.lock_dbt is 'Held shared by each dbt that a build has started: the next build waits for it.';
comment on table warehouse.lock_erasure is 'Erasing.';
comment on table warehouse.lock_checks is 'Checking.';
comment on table warehouse.lock_export is 'Exporting the marketing row.';
comment on table warehouse.lock_notifications is 'Sending notifications.';
comment on table warehouse.lock_drop_folder is 'Loading dropped files.';

-- A model's transaction locks its row.
create table warehouse.lock_models (
    model text primary key
);

comment on table warehouse.lock_models is 'A row for each model, locked by the transaction that writes it (warehouse.lock_model).';
