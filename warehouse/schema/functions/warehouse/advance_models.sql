-- Moves the offsets of models without unread input to a build's high-water mark. Their rows stay. Like
-- begin_model, it waits as long as another build writes a model.
create or replace function warehouse.advance_models(invocation text, of_models text[]) returns void
language plpgsql set lock_timeout = 0 as $$
begin
    perform warehouse.lock_model(m.model) from unnest(of_models) as m (model) order by m.model;
    update warehouse.model_offsets as o
    set
        batch_seq = greatest(o.batch_seq, b.batch_seq),
        as_of = greatest(o.as_of, b.as_of),
        moved_at = clock_timestamp()
    from warehouse.builds as b, warehouse.stored_models as m
    where
        b.invocation_id = invocation
        and b.window_start is null
        and o.model = any(of_models)
        and o.model = m.model
        and (o.batch_seq < b.batch_seq or o.as_of < b.as_of)
        -- An upstream model that another build has left behind holds this one back, too.
        and not exists (
            select 1 from warehouse.model_offsets as u
            where u.model = any(m.upstream) and (u.batch_seq < b.batch_seq or u.as_of < b.as_of)
        );
end
$$;
