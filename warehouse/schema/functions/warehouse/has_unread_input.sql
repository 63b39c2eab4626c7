-- Whether some models, or all where none are named, have anything to read.
create or replace function warehouse.has_unread_input(wanted_as_of timestamptz, of_models text []) returns boolean
language sql stable as $$
    with

    newest as (
        select coalesce(max(batch_seq), 0) as batch_seq from staging.event_batches
    ),

    stands as (
        select min(batch_seq) as batch_seq, min(as_of) as as_of
        from warehouse.model_offsets
        where of_models is null or model = any(of_models)
    ),

    -- Batches with events that were still ahead of the last as_of: few, mostly none.
    ahead as (
        select b.batch_id, s.as_of
        from staging.event_batches as b
        cross join stands as s
        where b.max_timestamp >= s.as_of
    ),

    moments as (
        select created_at as moment from staging.users
        union all
        select created_at from staging.clients
        union all
        select churned_at from staging.clients
    )

    select
        coalesce((select s.batch_seq from stands as s) < (select n.batch_seq from newest as n), true)
        or exists (
            select from stands as s
            where date_trunc('day', s.as_of, 'utc') < date_trunc('day', wanted_as_of, 'utc')
        )
        or exists (
            select from ahead
            inner join staging.raw_events as e on ahead.batch_id = e.batch_id
            where e."timestamp" >= ahead.as_of and e."timestamp" < wanted_as_of
        )
        or exists (
            select from moments as m
            where m.moment >= (select s.as_of from stands as s) and m.moment < wanted_as_of
        )
$$;
