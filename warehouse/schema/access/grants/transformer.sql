-- Permissions of builds: they read staging except the quarantine, and write the bookkeeping. They own
-- what dbt creates in intermediate and marts.

grant usage on schema
    staging,
    warehouse
to warehouse_transformer;

grant select on
    staging.raw_events,
    staging.loads,
    staging.suppressed_events,
    staging.used_sequences,
    staging.unknown_members,
    staging.clients,
    staging.units,
    staging.users,
    staging.documents,
    warehouse.alert_actions,
    warehouse.run_events,
    warehouse.exports,
    staging.dropped_months,
    warehouse.objects,
    warehouse.granted
to warehouse_transformer;

-- A rebuild that is allowed to lose events counts these in `erased`.
grant select, update (erased) on staging.event_batches to warehouse_transformer;

grant select, insert, update, delete on
    warehouse.builds,
    warehouse.stored_models,
    warehouse.stored_tests,
    warehouse.compiled_nodes,
    warehouse.access
to warehouse_transformer;

grant select, insert, update on
    warehouse.model_offsets,
    warehouse.view_digests,
    warehouse.lock_models,
    warehouse.verifications
to warehouse_transformer;

grant select, insert on
    warehouse.check_results,
    warehouse.restatements,
    warehouse.erased_rows
to warehouse_transformer;

grant select, insert, update, delete on warehouse.touched_periods to warehouse_transformer;

grant select (erasure_id, batch_seq, rows_forgotten_at)
on warehouse.erasures to warehouse_transformer;

grant update on
    warehouse.lock_access,
    warehouse.lock_batch_seq,
    warehouse.lock_build,
    warehouse.lock_dbt
to warehouse_transformer;

grant execute on function
    staging.take_statistics,
    warehouse.pin_build,
    warehouse.refuse_earlier_as_of,
    warehouse.lock_model,
    warehouse.begin_model,
    warehouse.set_locally,
    warehouse.end_model,
    warehouse.declared_differences,
    warehouse.follow_declaration,
    warehouse.follow_descriptions,
    warehouse.why_dbt,
    warehouse.models_with_unread_input,
    warehouse.advance_models,
    warehouse.run_model,
    warehouse.run_test,
    warehouse.verify_model,
    warehouse.is_building,
    warehouse.finish_build,
    warehouse.last_as_of,
    warehouse.current_as_of,
    warehouse.percentile,
    warehouse.grant_differences,
    warehouse.policy_statements,
    warehouse.apply_access,
    warehouse.distribute,
    warehouse.replicate,
    warehouse.rows_of_client,
    warehouse.insert_rows_of_cells,
    warehouse.list_rows_by_client,
    warehouse.is_distributed,
    warehouse.has_events_between,
    warehouse.blockers
to warehouse_transformer;
