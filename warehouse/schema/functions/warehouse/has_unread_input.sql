-- Whether there is unread input for these models (NULL: all models): batches after the lowest offset,
-- a new day, or events and dates of entities that as_of passes.
create or replace function warehouse.has_unread_input(wanted_as_of timestamptz, of_models text []) returns boolean
language sql stable as $$
    with

    newest as (
        select coalesce(max(batch_seq), 0) as batch_seq from staging.event_batches
    ),

    lowest_offset as (
        select min(batch_seq) as batch_seq, min(as_of) as as_of
        from warehouse.model_offsets
        where of_models is null or model = any(of_models)
    ),

    -- Batches with events that were after the last as_of: few, usually none.
    ahead as (
        select b.batch_id, l.as_of
        from staging.event_batches as b
        cross join lowest_offset as l
        where b.max_timestamp >= l.as_of
    ),

    moments as (
        select created_at as moment from staging.users
        union all
        select created_at from staging.clients
        union all
        select churned_at from staging.clients
    )

    select
        coalesce((select l.batch_seq from lowest_offset as l) < (select n.batch_seq from newest as n), true)
        or exists (
            select from lowest_offset as l
            where date_trunc('day', l.as_of, 'utc') < date_trunc('day', wanted_as_of, 'utc')
        )
        or exists (
            select from ahead
            inner join staging.raw_events as e on ahead.batch_id = e.batch_id
            where e."timestamp" >= ahead.as_of and e."timestamp" < wanted_as_of
        )
        or exists (
            select from moments as m
            where m.moment >= (select l.as_of from lowest_offset as l) and m.moment < wanted_as_of
        )
$$;
