-- What builds need to be incremental, and what leaves the warehouse.

create schema export;

-- Builds and their pins --------------------------------------------------------------------------

create table warehouse.builds (
    invocation_id text primary key,
    batch_seq bigint not null,
    as_of timestamptz not null,
    window_start date,
    window_end date,
    full_refresh boolean not null,
    code_digest text,
    state text not null default 'running' check (state in ('running', 'done', 'failed')),
    started_at timestamptz not null default clock_timestamp(),
    ended_at timestamptz,
    check ((window_start is null) = (window_end is null) and window_start < window_end)
);

comment on table warehouse.builds is
'One row per build, keyed by dbt''s invocation id: what it was pinned to, once, so that all its models speak of the same data.';
comment on column warehouse.builds.batch_seq is 'The highest batch that the build reads.';
comment on column warehouse.builds.as_of is 'The instant that the build looks from.';
comment on column warehouse.builds.code_digest is
'Digest of the dbt project''s files, set by builds of all models: tells that nothing was changed since.';
comment on column warehouse.builds.window_start is 'A backfill recomputes [window_start, window_end) and moves no offset.';

create table warehouse.model_offsets (
    model text primary key,
    batch_seq bigint not null,
    as_of timestamptz not null,
    checksum text not null,
    moved_at timestamptz not null default clock_timestamp()
);

comment on table warehouse.model_offsets is
'How far each model has read: all batches up to batch_seq, and of them the events before as_of. Moved in the transaction that writes the model''s rows.';
comment on column warehouse.model_offsets.as_of is
'infinity for typed facts, which hold every event; what marts may see of them is decided there.';
comment on column warehouse.model_offsets.checksum is 'Of the model''s code: changed code is rebuilt.';

create table warehouse.sliding_models (
    model text primary key,
    statements text [] not null
);

comment on table warehouse.sliding_models is
'Models whose rows change with as_of alone, with the SQL that rewrites them, so that a build with nothing new needs no dbt.';

create table warehouse.view_digests (
    view_name text primary key,
    digest text not null
);

comment on table warehouse.view_digests is
'The text that each view was made from: a view is replaced only when it changes.';

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
'Every check that ran. The export stands still while the latest result of any error check is a failure.';
comment on column warehouse.check_results.batch_seq is 'The batch up to which the checked rows were built or landed.';

-- What leaves the warehouse ----------------------------------------------------------------------

create table export.analytics_platform_stats (
    id integer primary key check (id = 1),
    active_users bigint not null check (active_users >= 0),
    questions_answered bigint not null check (questions_answered >= 0),
    pdf_downloads bigint not null check (pdf_downloads >= 0),
    engagement_rate numeric(12, 4) check (engagement_rate >= 0),
    updated_at timestamptz not null
);

comment on table export.analytics_platform_stats is
'Exactly one row: what the marketing site shows. Written by the export alone, only when every blocking check has passed.';
comment on column export.analytics_platform_stats.active_users is
'Units with a session in the 30 x 24 h before updated_at.';
comment on column export.analytics_platform_stats.questions_answered is 'Chat events ever.';
comment on column export.analytics_platform_stats.pdf_downloads is 'PDF downloads ever.';
comment on column export.analytics_platform_stats.engagement_rate is
'Active users / units; empty without units; may exceed 1.';
comment on column export.analytics_platform_stats.updated_at is
'The instant that the row looks from: as_of of the build it came from.';
