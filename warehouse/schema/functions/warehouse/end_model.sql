-- The offset protocol, second half (see warehouse.begin_model): counts the rows and moves the offset.
create or replace function warehouse.end_model(
    model_name text, code_checksum text, relation regclass
) returns void
language plpgsql as $$
declare
    counted bigint;
    written bigint;
begin
    select
        o.row_count + pg_stat_get_xact_tuples_inserted(relation)
        - pg_stat_get_xact_tuples_deleted(relation),
        o.unanalyzed + pg_stat_get_xact_tuples_inserted(relation)
        + pg_stat_get_xact_tuples_deleted(relation)
    into counted, written
    from warehouse.model_offsets as o
    where o.model = model_name and current_setting('warehouse.mode') <> 'full';
    if counted is null then
        execute format('select count(*) from %s', relation) into counted;
        written := counted;
    end if;
    -- Downstream models need statistics of the new rows and can't wait for autovacuum. Writing that
    -- many rows takes longer than analyzing a sample of them.
    if written > least(0.1 * counted, 10000) then
        execute format('analyze %s', relation);
        written := 0;
    end if;
    if current_setting('warehouse.mode') = 'window' then
        update warehouse.model_offsets set row_count = counted, unanalyzed = written
        where model = model_name;
        return;
    end if;
    insert into warehouse.model_offsets as o
        (model, batch_seq, as_of, checksum, row_count, unanalyzed)
    values (
        model_name,
        current_setting('warehouse.to_batch')::bigint,
        current_setting('warehouse.to_as_of')::timestamptz,
        code_checksum,
        counted,
        written
    )
    on conflict (model) do update set
        batch_seq = excluded.batch_seq,
        as_of = excluded.as_of,
        checksum = excluded.checksum,
        row_count = excluded.row_count,
        unanalyzed = excluded.unanalyzed,
        moved_at = excluded.moved_at;
end
$$;
