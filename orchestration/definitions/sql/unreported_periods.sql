-- What builds of some models (NULL: of all) wrote and nobody has reported to Dagster, by model and
-- by period: the build of this run, builds from the command line, and builds whose run was
-- interrupted before it reported them.
select
    t.model,
    t.period_start,
    max(o.row_count) as row_count,
    sum(t.rows_written)::bigint as rows_written,
    min(t.from_batch) as from_batch,
    max(t.to_batch) as to_batch,
    array_agg(t.touched_period_id) as touched_period_ids
from warehouse.touched_periods as t
inner join warehouse.model_offsets as o on t.model = o.model
where not t.reported_to_dagster and (%(models)s::text[] is null or t.model = any(%(models)s))
group by t.model, t.period_start
order by t.model, t.period_start
