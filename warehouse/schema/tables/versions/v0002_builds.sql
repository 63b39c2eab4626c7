-- Tables of incremental builds: builds, offsets, what builds wrote, check results, locks.

-- dbt's role may create tables in these schemas, but may not create schemas.
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
    models text[],
    allows_lost_events boolean not null default false,
    state text not null default 'running' check (state in ('running', 'done', 'failed')),
    started_at timestamptz not null default clock_timestamp(),
    ended_at timestamptz,
    check ((window_start is null) = (window_end is null) and window_start < window_end)
);

comment on table warehouse.builds is
'One row per build, keyed by dbt''s invocation id. The high-water mark is fixed at the start of a build, so that all its models describe the same data.';
comment on column warehouse.builds.batch_seq is
'The high-water mark: the highest batch that the build reads.';
comment on column warehouse.builds.as_of is 'The instant for which the build computes: it sees events before it.';
comment on column warehouse.builds.window_start is
'A backfill recomputes [window_start, window_end) and moves no offset.';
comment on column warehouse.builds.models is 'The models to build; NULL for all of them.';
comment on column warehouse.builds.allows_lost_events is
'Whether typed facts may be rebuilt although some of their events have expired.';

create index on warehouse.builds (started_at);

-- Offsets.

create table warehouse.model_offsets (
    model text primary key,
    batch_seq bigint not null,
    as_of timestamptz not null,
    checksum text not null,
    moved_at timestamptz not null default clock_timestamp(),
    row_count bigint,
    unanalyzed bigint not null default 0,
    written_batch_seq bigint not null default -1,
    written_as_of timestamptz not null default '-infinity'
);

comment on table warehouse.model_offsets is
'The offset of each model: it has read all batches up to batch_seq and of these the events before as_of. Moved in the transaction that writes the model''s rows.';
comment on column warehouse.model_offsets.as_of is
'infinity for typed facts, which hold every event; marts decide which events are visible.';
comment on column warehouse.model_offsets.checksum is
'Checksum of the model''s code: a model whose code has changed is rebuilt.';
comment on column warehouse.model_offsets.row_count is 'Number of rows of the model.';
comment on column warehouse.model_offsets.unanalyzed is
'Rows that builds have written or deleted since the model was last analyzed.';
comment on column warehouse.model_offsets.written_batch_seq is
'The offset to which the model was moved when its rows last changed: models whose offset is lower have unread input.';

-- What dbt has compiled, so that the database can execute it again.

create table warehouse.stored_models (
    model text primary key,
    relation text not null,
    code_digest text,
    checksum text not null,
    upstream text[] not null,
    inputs text[] not null,
    is_fact boolean not null,
    is_time_dependent boolean not null,
    holds_every_event boolean not null,
    list_cells text[] not null,
    replace_rows text[] not null,
    rewrite_rows text[] not null,
    fill_rows text[] not null,
    rows_of_cells text not null,
    cells text[] not null,
    drawn_on text,
    has_linked_cells boolean not null,
    figures text[] not null,
    by_client boolean not null
);

comment on table warehouse.stored_models is
'The statements of each incremental model, as dbt compiled them: warehouse.run_model executes them, for dbt and without dbt.';
comment on column warehouse.stored_models.code_digest is
'Digest of the dbt project''s files from which the statements were compiled; NULL if that is not known.';
comment on column warehouse.stored_models.checksum is 'Checksum of the model''s code (see model_offsets).';
comment on column warehouse.stored_models.upstream is
'The incremental models that this one reads, directly or through views.';
comment on column warehouse.stored_models.inputs is
'What can give the model unread input: models by name, tables of staging by schema and name.';
comment on column warehouse.stored_models.is_time_dependent is 'Whether rows change with as_of alone.';
comment on column warehouse.stored_models.list_cells is
'Statements that list the cells that unread input touches in a temporary table; empty for a model without cells.';
comment on column warehouse.stored_models.replace_rows is 'Statements that replace the rows of the touched cells.';
comment on column warehouse.stored_models.rewrite_rows is
'Statements that compute all rows and replace those of the cells that differ.';
comment on column warehouse.stored_models.fill_rows is 'Statements that fill an empty table.';
comment on column warehouse.stored_models.rows_of_cells is 'Query that computes the rows of the listed cells, or all rows of a model without cells.';
comment on column warehouse.stored_models.cells is 'The columns that make up a cell; empty for a model without cells.';
comment on column warehouse.stored_models.drawn_on is
'The day or the first day of a row''s period, a column or an expression: one of them is drawn to be verified; NULL for a model without.';
comment on column warehouse.stored_models.has_linked_cells is
'Whether cells are computed right only together with others, so that all those of a day are verified.';
comment on column warehouse.stored_models.figures is
'The columns that follow from what was read, and not from when it was read: two builds agree on them.';
comment on column warehouse.stored_models.by_client is
'Whether the rows are computed one client at a time, which a cluster needs for some models.';

create table warehouse.stored_tests (
    test text primary key,
    code_digest text,
    model text not null,
    models text[] not null,
    severity text not null check (severity in ('error', 'warn')),
    failing_rows text not null,
    outcome text not null
);

comment on table warehouse.stored_tests is
'The queries of each dbt test, as dbt compiled them: warehouse.run_test executes them without dbt.';
comment on column warehouse.stored_tests.model is 'The model that the test is of.';
comment on column warehouse.stored_tests.models is
'The incremental models that the test reads, directly or through views.';
comment on column warehouse.stored_tests.failing_rows is 'Returns the rows that fail the test.';
comment on column warehouse.stored_tests.outcome is
'Returns one row: the number of failures, and whether it is a reason for a warning and for an error.';

create table warehouse.compiled_nodes (
    node text primary key,
    relation text,
    code_digest text
);

comment on table warehouse.compiled_nodes is
'Each model, view, seed, function and test of the dbt project, with the code that dbt last ran for it: if all are of the current code, a build needs no dbt.';
comment on column warehouse.compiled_nodes.relation is 'Schema and name; NULL for tests and functions.';
comment on column warehouse.compiled_nodes.code_digest is
'Digest of the dbt project''s files; NULL if dbt has not succeeded with the node yet.';

create table warehouse.view_digests (
    view_name text primary key,
    digest text not null
);

comment on table warehouse.view_digests is
'Digest of the text that each view was created from: a view is replaced only when its text changes.';

-- What builds wrote.

create table warehouse.touched_periods (
    touched_period_id bigint generated always as identity primary key,
    invocation_id text not null,
    model text not null,
    period_start date,
    rows_written bigint not null,
    from_batch bigint not null,
    to_batch bigint not null,
    reported_to_dagster boolean not null default false
);

comment on table warehouse.touched_periods is
'What each build of the last week wrote: one row per model, and one per day, week or month where the model has periods.';
comment on column warehouse.touched_periods.period_start is
'First day of the period; NULL in the row for the whole model.';
comment on column warehouse.touched_periods.rows_written is
'Rows that the build inserted: a rebuild replaces only rows that differ.';
comment on column warehouse.touched_periods.from_batch is 'The build read the batches after this one.';
comment on column warehouse.touched_periods.to_batch is 'The build read the batches up to this one.';
comment on column warehouse.touched_periods.reported_to_dagster is
'Whether a run has reported this to Dagster as a materialization.';

create index on warehouse.touched_periods (invocation_id, model);

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
'Changes of published figures of closed periods, recorded in the transaction that made the change.';
comment on column warehouse.restatements.new_values is 'NULL if the row no longer exists.';

create index on warehouse.restatements (client_id, restated_at, mart, period);

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
'One row per check and run. Nothing is exported while the latest result of a check with severity error is a failure.';
comment on column warehouse.check_results.batch_seq is
'The last batch that the checked rows include.';

-- Finds the latest result of each check without reading and sorting all results.
create index check_results_latest on warehouse.check_results (check_name, checked_at desc)
include (model, severity, passed);

create table warehouse.verifications (
    model text primary key,
    verified_at timestamptz not null default clock_timestamp(),
    verified_cells bigint not null,
    differing_rows bigint not null,
    differing_columns text[] not null
);

comment on table warehouse.verifications is
'The latest verification of each model: random cells, computed again from what the model reads, compared with its rows.';
-- Functions, views and grants.

create table warehouse.applied_files (
    name text primary key,
    digest text not null
);

comment on table warehouse.applied_files is
'Digest of each function, view and of the grant files when they were last run: `warehouse init` runs those that have changed.';

-- Locks (warehouse/locks.py): empty tables, so that only a role with a grant on one can take its lock.
-- Advisory locks could be taken by every login.

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

comment on table warehouse.lock_batch_seq is 'Held while a batch commits: batches are numbered in commit order.';
comment on table warehouse.lock_landing is 'Held shared while a chunk is landed, exclusively by an erasure or the expiry of a month.';
comment on table warehouse.lock_partitions is 'Held while partitions of staging.raw_events are added or dropped.';
comment on table warehouse.lock_access is 'Held while access to models is applied (warehouse.apply_access).';
comment on table warehouse.lock_build is 'Held by a build.';
comment on table warehouse.lock_dbt is 'Held shared by each dbt process of a build: the next build waits until it ends.';
comment on table warehouse.lock_erasure is 'Held by an erasure.';
comment on table warehouse.lock_checks is 'Held by a run of the checks.';
comment on table warehouse.lock_export is 'Held by an export of the marketing row.';
comment on table warehouse.lock_notifications is 'Held while notifications are sent.';
comment on table warehouse.lock_drop_folder is 'Held while files of the drop folder are loaded.';

create table warehouse.lock_models (
    model text primary key
);

comment on table warehouse.lock_models is 'One row per model, locked by the transaction that writes the model (warehouse.lock_model).';
