-- What people look after: alerts, runs that failed, notifications, exports.

create schema export;

-- Dagster's own storage, where it is kept here (WAREHOUSE_DAGSTER_STORAGE).
create schema dagster;

create table warehouse.alert_actions (
    alert_id text not null,
    action text not null check (action in ('acknowledged', 'resolved')),
    taken_by text not null check (taken_by <> ''),
    taken_at timestamptz not null default clock_timestamp(),
    primary key (alert_id, action)
);

comment on table warehouse.alert_actions is
'What people did about alerts by hand, beside the models: no rebuild touches it. An alert that late events extend keeps what was done about any of its windows.';
comment on column warehouse.alert_actions.alert_id is
'The alert''s id in marts.alert_history at that time.';

create table warehouse.notifications (
    notification_id bigint generated always as identity primary key,
    content text not null,
    written_at timestamptz not null default clock_timestamp(),
    sent_at timestamptz
);

comment on table warehouse.notifications is
'Messages to people: written together with what happened, sent afterwards.';
comment on column warehouse.notifications.sent_at is
'When the webhook accepted it; NULL while it waits.';

create index notifications_waiting on warehouse.notifications (notification_id) where sent_at is null;

create table warehouse.run_events (
    run_id text not null,
    event text not null check (
        event in ('run_failed', 'run_recovered', 'check_failed', 'check_recovered', 'file_quarantined')
    ),
    job text not null,
    occurred_at timestamptz not null,
    detail text not null,
    notification_id bigint,
    primary key (run_id, event, job)
);

comment on table warehouse.run_events is
'Runs, checks and files that failed, and the first of the same that succeeded again.';
comment on column warehouse.run_events.job is
'The job, the assets of a run from the UI, the check and its model, or the file.';
comment on column warehouse.run_events.notification_id is
'The notification of it: warehouse.notifications; NULL where one was sent within the hour before.';

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
    active_users bigint not null,
    questions_answered bigint not null,
    pdf_downloads bigint not null,
    engagement_rate numeric(12, 4),
    updated_at timestamptz not null,
    started_at timestamptz not null default clock_timestamp(),
    ended_at timestamptz
);

comment on table warehouse.exports is
'Every row that was exported, or refused for its change against the last: its figures, and what they came from.';
comment on column warehouse.exports.target is 'The database that the row was for, without user and password.';
comment on column warehouse.exports.state is
'Stays running where an exporter was killed: the exported row itself shows whether it was written.';
comment on column warehouse.exports.reason is 'Why it was refused, or what was accepted nevertheless.';
comment on column warehouse.exports.accepted_by is 'Who accepted a change beyond the bounds.';
comment on column warehouse.exports.run is 'The run that exported; NULL from the command line.';
comment on column warehouse.exports.build is
'The build that the figures came from: warehouse.builds.invocation_id.';
comment on column warehouse.exports.checked_at is
'The run of checks that tested the figures: warehouse.check_results.checked_at.';

create table export.analytics_platform_stats (
    id integer primary key check (id = 1),
    active_users bigint not null check (active_users >= 0),
    questions_answered bigint not null check (questions_answered >= 0),
    pdf_downloads bigint not null check (pdf_downloads >= 0),
    engagement_rate numeric(12, 4) check (engagement_rate >= 0),
    updated_at timestamptz not null
);

comment on table export.analytics_platform_stats is
'Exactly one row: what the marketing site shows. Only the export writes it, and only when every blocking check has passed.';
comment on column export.analytics_platform_stats.active_users is
'Units with a session in the 30 x 24 h before updated_at.';
comment on column export.analytics_platform_stats.questions_answered is 'Chat events ever.';
comment on column export.analytics_platform_stats.pdf_downloads is 'PDF downloads ever.';
comment on column export.analytics_platform_stats.engagement_rate is
'Active users / units; NULL without units; may exceed 1.';
comment on column export.analytics_platform_stats.updated_at is
'The instant that the row looks from: as_of of the build it came from.';
