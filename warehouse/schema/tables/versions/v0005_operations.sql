-- What people do about alerts, and what erasure took from a batch.

-- Beside the models: no rebuild touches it.
create table warehouse.alert_actions (
    alert_id text not null,
    action text not null check (action in ('acknowledged', 'resolved')),
    taken_by text not null check (taken_by <> ''),
    taken_at timestamptz not null default clock_timestamp(),
    primary key (alert_id, action)
);

comment on table warehouse.alert_actions is
'What people did about alerts by hand. An alert that late events extend keeps what was done about any of its windows.';
comment on column warehouse.alert_actions.alert_id is
'The alert''s id in marts.alert_history at that time.';

alter table staging.event_batches add column erased bigint not null default 0;

comment on column staging.event_batches.erased is
'Accepted events that an erasure has taken out since: what is modelled is fewer by these.';
