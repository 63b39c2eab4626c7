-- The planner's statistics are taken by builds, when a model has changed enough since the last time.

alter table warehouse.model_offsets add column unanalyzed bigint not null default 0;

comment on column warehouse.model_offsets.unanalyzed is
'Rows that builds have written or deleted since they took statistics of the model.';

-- Nobody knows when they were taken last.
update warehouse.model_offsets set unanalyzed = coalesce(row_count, 0);
