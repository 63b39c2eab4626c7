-- What runs leave behind: what each build touched, which runs failed, what was exported.

-- Builds of some models ---------------------------------------------------------------------------

alter table warehouse.builds add column models text [];

comment on column warehouse.builds.models is 'The models that it was to build; empty for all of them.';
comment on column warehouse.builds.code_digest is
'Digest of the dbt project''s files, but of backfills: tells that nothing was changed since.';

create table warehouse.touched_periods (
    invocation_id text not null,
    model text not null,
    period_start date,
    rows_written bigint not null,
    from_batch bigint not null,
    to_batch bigint not null
);

comment on table warehouse.touched_periods is
'What each build of the last week wrote: a row per model, and one per day, week or month of it where the model has periods.';
comment on column warehouse.touched_periods.period_start is
'First day of the period; empty in the row for the model as a whole.';
comment on column warehouse.touched_periods.rows_written is 'Rows that the period''s touched cells have now.';
comment on column warehouse.touched_periods.from_batch is 'The build read the batches after this one,';
comment on column warehouse.touched_periods.to_batch is 'up to and with this one.';

create index on warehouse.touched_periods (invocation_id);

-- Runs that failed --------------------------------------------------------------------------------

create table warehouse.run_events (
    run_id text not null,
    event text not null check (event in ('run_failed', 'run_recovered')),
    job text not null,
    occurred_at timestamptz not null,
    detail text not null,
    primary key (run_id, event)
);

comment on table warehouse.run_events is
'Runs that failed, and the first ones of the same job that succeeded again.';

-- Exports ----------------------------------------------------------------------------------------

create table warehouse.exports (
    export_id bigint generated always as identity primary key,
    target text not null,
    state text not null default 'running' check (state in ('running', 'done', 'refused')),
    reason text,
    accepted_by text,
    run text,
    build text not null,
    batch_seq bigint not null,
    checked_at timestamptz not null,
    erased bigint not null,
    active_users bigint not null,
    questions_answered bigint not null,
    pdf_downloads bigint not null,
    engagement_rate numeric(12, 4),
    updated_at timestamptz not null,
    started_at timestamptz not null default clock_timestamp(),
    ended_at timestamptz
);

comment on table warehouse.exports is
'Every row that was exported or refused for its change against the last: its figures, and what they came from.';
comment on column warehouse.exports.target is 'The database that the row was for, without user and password.';
comment on column warehouse.exports.state is
'running also where an exporter was killed: the row itself tells whether it had come there.';
comment on column warehouse.exports.reason is 'Why it was refused, or what was accepted all the same.';
comment on column warehouse.exports.accepted_by is 'Who has let a change beyond the bounds pass.';
comment on column warehouse.exports.run is 'The run that exported; empty from the command line.';
comment on column warehouse.exports.build is 'The build that the figures came from: warehouse.builds.invocation_id.';
comment on column warehouse.exports.erased is
'Events that erasures had taken out by then: what was erased since explains that figures fall.';
comment on column warehouse.exports.checked_at is 'The run of checks that looked at the figures: warehouse.check_results.checked_at.';

-- Dagster's own storage, where it is kept here (WAREHOUSE_DAGSTER_STORAGE).
create schema dagster;
