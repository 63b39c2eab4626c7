-- Tables of operations: alerts, notifications, failed runs, exports.

create schema export;

-- Dagster's own storage, if WAREHOUSE_DAGSTER_STORAGE is postgres.
create schema dagster;

create table warehouse.alert_actions (
    alert_id text not null,
    action text not null check (action in ('acknowledged', 'resolved')),
    taken_by text not null check (taken_by <> ''),
    taken_at timestamptz not null default clock_timestamp(),
    primary key (alert_id, action)
);

comment on table warehouse.alert_actions is
'Manual actions on alerts, kept outside the models so that no rebuild loses them. An alert that late events extend keeps the actions on all its windows.';
comment on column warehouse.alert_actions.alert_id is
'The alert''s id in marts.alert_history at the time of the action.';

create table warehouse.notifications (
    notification_id bigint generated always as identity primary key,
    content jsonb not null,
    written_at timestamptz not null default clock_timestamp(),
    sent_at timestamptz
);

comment on table warehouse.notifications is
'Outgoing messages: written in the transaction that records the event, sent afterwards.';
comment on column warehouse.notifications.sent_at is
'When the webhook accepted the message; NULL while it waits.';

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
'Failed runs, failed checks and quarantined files, and the first success after each failure.';
comment on column warehouse.run_events.job is
'The job; the assets of a run from the UI; the check and its model; or the file.';
comment on column warehouse.run_events.notification_id is
'The notification (warehouse.notifications); NULL if one was sent within the hour before.';

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
'Every row that was exported, or refused because it changed too much: its figures and their origin.';
comment on column warehouse.exports.target is 'The target database, without user and password.';
comment on column warehouse.exports.state is
'Stays running if the export was killed; the exported row itself shows whether it was written.';
comment on column warehouse.exports.reason is 'Why the row was refused, or which violations were accepted.';
comment on column warehouse.exports.accepted_by is 'Who accepted a change beyond the limits.';
comment on column warehouse.exports.run is 'The Dagster run of the export; NULL from the command line.';
comment on column warehouse.exports.build is
'The build of the figures: warehouse.builds.invocation_id.';
comment on column warehouse.exports.checked_at is
'When the figures were checked: warehouse.check_results.checked_at.';

create table export.analytics_platform_stats (
    id integer primary key check (id = 1),
    active_users bigint not null check (active_users >= 0),
    questions_answered bigint not null check (questions_answered >= 0),
    pdf_downloads bigint not null check (pdf_downloads >= 0),
    engagement_rate numeric(12, 4) check (engagement_rate >= 0),
    updated_at timestamptz not null
);

comment on table export.analytics_platform_stats is
'Exactly one row: the figures of the marketing site. Only the export writes it, and only after every blocking check has passed.';
comment on column export.analytics_platform_stats.active_users is
'Units with a session in the 30 x 24 h before updated_at.';
comment on column export.analytics_platform_stats.questions_answered is 'Number of chat events ever.';
comment on column export.analytics_platform_stats.pdf_downloads is 'Number of PDF downloads ever.';
comment on column export.analytics_platform_stats.engagement_rate is
'Active users / units; NULL without units; may exceed 1.';
comment on column export.analytics_platform_stats.updated_at is
'The instant for which the row was computed: as_of of its build.';
