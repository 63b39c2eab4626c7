-- Tables and columns of the warehouse that can't name a subject: they hold generated names, counts,
-- fixed texts and the origins of sites. Erasures do not search them, so that an identifier that equals one of these words is not
-- reported there. Every other column may name a subject: whoever adds a column either lists it here or
-- makes erasures cover it.
create or replace function warehouse.names_nobody() returns text[]
language sql immutable parallel safe as $$
    select array[
        'staging.raw_events.country', 'staging.suppressed_events.event',
        'staging.unknown_members.event', 'staging.unknown_members.path',
        'staging.unknown_members.nearest_known',
        'staging.rejected_events.reason', 'staging.event_batches.kind', 'staging.loads.kind',
        'staging.loads.state', 'staging.source_cursors',
        'warehouse.access', 'warehouse.builds', 'warehouse.applied_files',
        'warehouse.migrations', 'warehouse.model_offsets', 'warehouse.stored_models',
        'warehouse.stored_tests', 'warehouse.compiled_nodes',
        'warehouse.touched_periods', 'warehouse.lock_models', 'warehouse.view_digests',
        'warehouse.verifications', 'warehouse.keys.key_id', 'warehouse.keys.kind',
        'warehouse.keys.origins',
        'warehouse.erasures.kind', 'warehouse.erasures.state', 'warehouse.erasures.removed',
        'warehouse.erasures.found', 'warehouse.erasures.not_searched', 'warehouse.erasures.changed',
        'warehouse.erasures.files_removed', 'warehouse.erasures.files_left',
        'warehouse.exports.target', 'warehouse.exports.state', 'warehouse.exports.run',
        'warehouse.exports.build', 'warehouse.run_events.run_id', 'warehouse.run_events.event',
        'warehouse.notifications.content', 'warehouse.alert_actions.alert_id',
        'warehouse.alert_actions.action', 'warehouse.check_results.check_name',
        'warehouse.check_results.source', 'warehouse.check_results.model',
        'warehouse.check_results.severity', 'warehouse.restatements.mart',
        'warehouse.restatements.period', 'warehouse.restatements.cause',
        'warehouse.restatements.run'
    ]
$$;
