-- Records under the erasure's batch what warehouse.remove_subject removed: in the ledger,
-- warehouse.erased_rows and staging.used_sequences.
create or replace function warehouse.note_erasure(erasure_batch bigint, sought text) returns void
language plpgsql as $$
begin
    update staging.event_batches as b
    set erased = b.erased + e.events, erased_by = erasure_batch
    from (
        select batch_seq, count(*) as events from pg_temp.erased_events group by batch_seq
    ) as e
    where b.batch_seq = e.batch_seq;
    insert into warehouse.erased_rows (model, batch_seq, content)
    select r.model, erasure_batch, r.content from pg_temp.erased_rows as r;
    insert into staging.used_sequences (batch_seq, producer, "sequence", day)
    select distinct
        erasure_batch,
        s.producer,
        s."sequence",
        (s.occurred_at at time zone 'utc')::date
    from pg_temp.erased_sequences as s
    where warehouse.text_presence(warehouse.normalized_identifier(sought), s.producer) = 0;
end
$$;
