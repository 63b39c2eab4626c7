-- Bookkeeping tables that views in marts read with the caller's permissions. Grants on marts follow
-- the models' declarations (warehouse.apply_access).

grant usage on schema warehouse to warehouse_analyst;

grant select (model, batch_seq, as_of, row_count, moved_at)
on warehouse.model_offsets to warehouse_analyst;

grant select (check_name, model, severity, passed, checked_at)
on warehouse.check_results to warehouse_analyst;

grant select (model, verified_at, verified_cells) on warehouse.verifications to warehouse_analyst;

grant select (
    invocation_id, batch_seq, as_of, window_start, window_end, full_refresh, state,
    started_at, ended_at, models
)
on warehouse.builds to warehouse_analyst;

grant select (mart, client_id, period, old_values, new_values, cause, run, restated_at)
on warehouse.restatements to warehouse_analyst;

grant select (alert_id, action, taken_by, taken_at) on warehouse.alert_actions to warehouse_analyst;

grant select (run_id, event, job, occurred_at, detail) on warehouse.run_events to warehouse_analyst;

grant select (export_id, target, state, reason, accepted_by, run, build, ended_at)
on warehouse.exports to warehouse_analyst;

grant select (load_id, kind, source, state, error, ended_at) on staging.loads to warehouse_analyst;

grant select (load_id, received, accepted) on staging.event_batches to warehouse_analyst;

grant execute on function
    warehouse.last_as_of,
    warehouse.current_as_of,
    warehouse.percentile
to warehouse_analyst;
