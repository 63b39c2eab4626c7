-- Which builds Dagster was told of: what one that broke off has touched the next run tells.

alter table warehouse.builds add column told boolean not null default true;
alter table warehouse.builds alter column told set default false;

comment on column warehouse.builds.told is
'Whether a run has told Dagster what the build touched (see warehouse.touched_periods).';

create index on warehouse.builds (started_at);

comment on column warehouse.touched_periods.rows_written is
'Rows that the build wrote; of a model that was rebuilt, or slides, all that it has.';
