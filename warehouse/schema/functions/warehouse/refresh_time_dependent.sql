-- A build without unread input, of these models (NULL: all models): moves their as_of and rewrites the
-- time-dependent models. Does nothing and returns false if there is unread input, or if the models were
-- not last built with this code: then dbt has to run.
create or replace function warehouse.refresh_time_dependent(
    invocation text, wanted_as_of timestamptz, digest text, of_models text []
) returns boolean
language plpgsql as $$
declare
    time_dependent warehouse.time_dependent_models;
    one_offset warehouse.model_offsets;
    build warehouse.builds;
    one_statement text;
    previous_lock_timeout text := current_setting('lock_timeout');
begin
    -- Requires a finished build of all these models with this code, and no later build that failed or
    -- used other code for one of them. Backfills do not count: they run no changed code.
    if not exists (
        select from warehouse.builds as b
        where
            b.window_start is null
            and b.state = 'done'
            and b.code_digest = digest
            and (b.models is null or b.models @> of_models)
            and not exists (
                select from warehouse.builds as later
                where
                    later.started_at > b.started_at
                    and later.window_start is null
                    and (of_models is null or later.models is null or later.models && of_models)
                    and (later.state, later.code_digest) is distinct from ('done', digest)
            )
    ) then
        return false;
    end if;
    build := warehouse.pin_build(invocation, wanted_as_of, null, null, false, digest);
    update warehouse.builds set models = of_models where invocation_id = invocation;
    -- No lock timeout while waiting for other builds; the usual timeout for everything else.
    perform set_config('lock_timeout', '0', true);
    for one_offset in
        select * from warehouse.model_offsets where of_models is null or model = any(of_models) order by model
    loop
        perform warehouse.lock_model(one_offset.model);
    end loop;
    perform set_config('lock_timeout', previous_lock_timeout, true);
    if warehouse.has_unread_input(build.as_of, of_models) then
        delete from warehouse.builds where invocation_id = invocation;
        return false;
    end if;
    update warehouse.model_offsets as o set as_of = build.as_of, moved_at = clock_timestamp()
    where o.as_of < build.as_of and (of_models is null or o.model = any(of_models));
    perform
        set_config('warehouse.mode', 'incremental', true),
        set_config('warehouse.to_batch', build.batch_seq::text, true),
        set_config('warehouse.to_as_of', build.as_of::text, true);
    for time_dependent in
        select * from warehouse.time_dependent_models where of_models is null or model = any(of_models) order by model
    loop
        foreach one_statement in array time_dependent.statements loop
            execute one_statement;
        end loop;
        insert into warehouse.touched_periods
            (invocation_id, model, rows_written, from_batch, to_batch)
        select invocation, o.model, coalesce(o.row_count, 0), build.batch_seq, build.batch_seq
        from warehouse.model_offsets as o
        where o.model = time_dependent.model;
    end loop;
    update warehouse.builds set state = 'done', ended_at = clock_timestamp()
    where invocation_id = invocation;
    return true;
end
$$;
