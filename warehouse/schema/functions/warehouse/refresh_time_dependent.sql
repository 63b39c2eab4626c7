-- A build with nothing new, of some models or of all where none are named: moves their as_of and
-- rewrites the models whose rows depend on it. Returns false, with nothing done, where there is
-- unread input, or where no build of this code vouches for the models: then dbt has to run.
create or replace function warehouse.refresh_time_dependent(
    invocation text, wanted_as_of timestamptz, digest text, of_models text []
) returns boolean
language plpgsql as $$
declare
    sliding warehouse.time_dependent_models;
    stands warehouse.model_offsets;
    pin warehouse.builds;
    one_statement text;
    patience text := current_setting('lock_timeout');
begin
    -- The last build that wrote the models, all of them, and none since that may have left one of
    -- them unbuilt or of other code. Backfills change no code.
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
    pin := warehouse.pin_build(invocation, wanted_as_of, null, null, false, digest);
    update warehouse.builds set models = of_models where invocation_id = invocation;
    -- Other builds are waited for, however long they take; what else is in the way is not.
    perform set_config('lock_timeout', '0', true);
    for stands in
        select * from warehouse.model_offsets where of_models is null or model = any(of_models) order by model
    loop
        perform warehouse.lock_model(stands.model);
    end loop;
    perform set_config('lock_timeout', patience, true);
    if warehouse.has_unread_input(pin.as_of, of_models) then
        delete from warehouse.builds where invocation_id = invocation;
        return false;
    end if;
    update warehouse.model_offsets as o set as_of = pin.as_of, moved_at = clock_timestamp()
    where o.as_of < pin.as_of and (of_models is null or o.model = any(of_models));
    perform
        set_config('warehouse.mode', 'incremental', true),
        set_config('warehouse.to_batch', pin.batch_seq::text, true),
        set_config('warehouse.to_as_of', pin.as_of::text, true);
    for sliding in
        select * from warehouse.time_dependent_models where of_models is null or model = any(of_models) order by model
    loop
        foreach one_statement in array sliding.statements loop
            execute one_statement;
        end loop;
        insert into warehouse.touched_periods
            (invocation_id, model, rows_written, from_batch, to_batch)
        select invocation, o.model, coalesce(o.row_count, 0), pin.batch_seq, pin.batch_seq
        from warehouse.model_offsets as o
        where o.model = sliding.model;
    end loop;
    update warehouse.builds set state = 'done', ended_at = clock_timestamp()
    where invocation_id = invocation;
    return true;
end
$$;
