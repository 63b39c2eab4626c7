-- The offset protocol, second half (see warehouse.begin_model): moves the offset, and records for
-- monitoring what was written: `inserted` and `deleted` are the numbers of the model's rows.
create or replace function warehouse.end_model(
    stored warehouse.stored_models, invocation text, inserted bigint, deleted bigint
) returns void
language plpgsql as $$
declare
    relation constant regclass := stored.relation;
    run_mode constant text := current_setting('warehouse.mode');
    to_batch constant bigint := current_setting('warehouse.to_batch');
    to_as_of constant timestamptz := current_setting('warehouse.to_as_of');
    has_written boolean := run_mode = 'full' or inserted > 0 or deleted > 0;
    counted bigint;
    unanalyzed_rows bigint;
begin
    select o.row_count + inserted - deleted, o.unanalyzed + inserted + deleted
    into counted, unanalyzed_rows
    from warehouse.model_offsets as o
    where o.model = stored.model;
    if counted is null or run_mode = 'full' then
        execute format('select count(*) from %s', relation) into counted;
        unanalyzed_rows := coalesce(unanalyzed_rows, counted);
    end if;
    -- Downstream models need statistics of the new rows and can't wait for autovacuum. Writing that
    -- many rows takes longer than analyzing a sample of them.
    if unanalyzed_rows > least(0.1 * counted, 10000) then
        execute format('analyze %s', relation);
        unanalyzed_rows := 0;
    end if;
    if has_written then
        insert into warehouse.touched_periods (invocation_id, model, rows_written, from_batch, to_batch)
        values (
            invocation,
            stored.model,
            inserted,
            current_setting('warehouse.from_batch')::bigint,
            to_batch
        );
    end if;
    if run_mode = 'window' then
        update warehouse.model_offsets set row_count = counted, unanalyzed = unanalyzed_rows
        where model = stored.model;
        return;
    end if;
    insert into warehouse.model_offsets as o
        (model, batch_seq, as_of, checksum, row_count, unanalyzed, written_batch_seq, written_as_of)
    values (
        stored.model, to_batch, to_as_of, stored.checksum, counted, unanalyzed_rows, to_batch, to_as_of
    )
    on conflict (model) do update set
        batch_seq = excluded.batch_seq,
        as_of = excluded.as_of,
        checksum = excluded.checksum,
        row_count = excluded.row_count,
        unanalyzed = excluded.unanalyzed,
        moved_at = excluded.moved_at,
        written_batch_seq = case when has_written then excluded.written_batch_seq else o.written_batch_seq end,
        written_as_of = case when has_written then excluded.written_as_of else o.written_as_of end;
end
$$;
