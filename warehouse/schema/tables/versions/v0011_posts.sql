-- What people are told of, and what explains that the exported figures fall.

-- Posts ------------------------------------------------------------------------------------------

create table warehouse.posts (
    post_id bigint generated always as identity primary key,
    content text not null,
    written_at timestamptz not null default clock_timestamp(),
    told_at timestamptz
);

comment on table warehouse.posts is
'What people are told of what happened in runs: written down with it, sent afterwards.';
comment on column warehouse.posts.told_at is
'When the webhook took it; empty while it waits for that.';

create index posts_waiting on warehouse.posts (post_id) where told_at is null;

alter table warehouse.run_events
drop constraint run_events_event_check,
drop constraint run_events_pkey,
add constraint run_events_event_check check (
    event in ('run_failed', 'run_recovered', 'check_failed', 'check_recovered', 'file_set_aside')
),
add primary key (run_id, event, job),
add column post_id bigint;

comment on table warehouse.run_events is
'What people look after: runs that failed, checks and files; and the first that was right again.';
comment on column warehouse.run_events.job is
'The job, the assets of a run from the UI, the check and whose it is, or the file.';
comment on column warehouse.run_events.post_id is
'The post that tells of it: warehouse.posts; empty where an earlier one did within the hour.';

-- Erasures tell by their receipts what they took of each figure: of the batches since the last row.
alter table warehouse.exports drop column erased;

-- Checks -----------------------------------------------------------------------------------------

-- The latest result of each check, without reading and sorting all of them.
create index check_results_latest on warehouse.check_results (check_name, checked_at desc)
include (model, severity, passed);
