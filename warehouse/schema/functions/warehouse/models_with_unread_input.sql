-- Which of these models a build has to run: those with unread input, and those that it recomputes
-- anyway. Their upstream models must have reached the build's high-water mark.
-- A model has unread input if batches of its tables of staging have landed after its offset, if its
-- upstream models have changed since, or if as_of passes an event, a date of an entity or a day.
create or replace function warehouse.models_with_unread_input(invocation text, candidates text[])
returns setof text
language sql stable as $$
    with

    build as materialized (
        select * from warehouse.builds where invocation_id = invocation
    ),

    asked as materialized (
        select
            m.model,
            m.is_fact,
            m.inputs,
            coalesce(o.batch_seq, -1) as batch_seq,
            coalesce(o.as_of, '-infinity') as as_of,
            o.checksum is distinct from m.checksum or m.is_time_dependent as is_due,
            exists (
                select 1 from warehouse.stored_models as fact
                where fact.model = any(m.inputs) and fact.is_fact
            ) as reads_facts
        from warehouse.stored_models as m
        left join warehouse.model_offsets as o on m.model = o.model
        where m.model = any(candidates)
    ),

    -- Most models have the same offset: what is unread is looked up once for each.
    current_offsets as materialized (
        select
            a.batch_seq,
            a.as_of,
            array(
                select distinct b.kind from staging.event_batches as b
                where b.batch_seq > a.batch_seq and b.batch_seq <= build.batch_seq
            ) as unread_kinds,
            -- Events that landed before their time.
            warehouse.has_events_between(a.batch_seq, a.as_of, build.as_of) as passes_events,
            exists (
                select 1 from staging.clients as c
                where
                    (c.created_at >= a.as_of and c.created_at < build.as_of)
                    or (c.churned_at >= a.as_of and c.churned_at < build.as_of)
            ) as passes_clients,
            exists (
                select 1 from staging.users as u where u.created_at >= a.as_of and u.created_at < build.as_of
            ) as passes_users,
            date_trunc('day', a.as_of, 'utc') < date_trunc('day', build.as_of, 'utc') as passes_a_day
        from (select distinct a.batch_seq, a.as_of from asked as a) as a
        cross join build
    )

    select a.model
    from asked as a
    cross join build
    inner join current_offsets as o on a.batch_seq = o.batch_seq and a.as_of = o.as_of
    where
        a.is_due
        or build.full_refresh
        -- A backfill recomputes marts and leaves facts unchanged.
        or (build.window_start is not null and not a.is_fact)
        or (
            build.window_start is null
            and (
                -- Other batches, such as those of an erasure, may reach any model.
                exists (
                    select 1 from unnest(o.unread_kinds) as kinds (kind)
                    where
                        kinds.kind not in ('events', 'clients', 'units', 'users', 'documents')
                        or 'staging.event_batches' = any(a.inputs)
                        or case kinds.kind when 'events' then 'staging.raw_events' else 'staging.' || kinds.kind end
                        = any(a.inputs)
                )
                or exists (
                    select 1 from warehouse.model_offsets as u
                    where
                        u.model = any(a.inputs)
                        and (
                            u.written_batch_seq > a.batch_seq
                            -- Facts hold every event: as_of only decides which of them are visible.
                            or (u.as_of < 'infinity' and u.written_as_of > a.as_of)
                        )
                )
                or (
                    not a.is_fact
                    and (
                        o.passes_a_day
                        or (o.passes_events and a.reads_facts)
                        or (o.passes_clients and 'staging.clients' = any(a.inputs))
                        or (o.passes_users and 'staging.users' = any(a.inputs))
                    )
                )
            )
        )
$$;
