-- What builds wrote and nobody has reported to Dagster, by model and by period: the build of this
-- run, builds from the command line, and builds whose run was interrupted before it reported them.
select
    t.model,
    t.period_start,
    max(o.row_count) as row_count,
    sum(t.rows_written)::bigint as rows_written,
    min(t.from_batch) as from_batch, max(t.to_batch) as to_batch
from warehouse.touched_periods as t
inner join warehouse.builds as b on t.invocation_id = b.invocation_id
inner join warehouse.model_offsets as o on t.model = o.model
where not b.reported_to_dagster
group by t.model, t.period_start
order by t.model, t.period_start
