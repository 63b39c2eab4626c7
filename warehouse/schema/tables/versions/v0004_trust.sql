-- What tells whether marts can be trusted: how many rows they have, and what was restated.

alter table warehouse.model_offsets add column row_count bigint;

comment on column warehouse.model_offsets.row_count is
'Rows of the model; empty until it is built again after this column came.';

-- A restatement: published figures of a period that was over when they were published, and that are
-- others now.
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
'What was published of a closed period and is no more, in the transaction that replaced it.';
comment on column warehouse.restatements.new_values is 'Empty where the row is gone.';

create index on warehouse.restatements (mart, client_id, period);
