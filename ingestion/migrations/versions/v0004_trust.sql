-- What tells whether marts can be trusted: how many rows they have, and what was restated.

alter table warehouse.model_offsets add column row_count bigint;

comment on column warehouse.model_offsets.row_count is
'Rows of the model; empty until it is built again after this column came.';

-- Counts a model's rows by what its transaction wrote: never by reading all of them, but where all
-- of them are written anew. Then it takes statistics, too, which autovacuum would do minutes later.
drop function warehouse.end_model(text, text);

create function warehouse.end_model(
    model_name text, code_checksum text, relation regclass
) returns void
language plpgsql as $$
declare
    counted bigint;
begin
    select
        o.row_count + pg_stat_get_xact_tuples_inserted(relation)
        - pg_stat_get_xact_tuples_deleted(relation)
    into counted
    from warehouse.model_offsets as o
    where o.model = model_name and current_setting('warehouse.mode') <> 'full';
    if counted is null then
        execute format('select count(*) from %s', relation) into counted;
        -- What is built from it now is planned by what it holds, not by what it held.
        execute format('analyze %s', relation);
    end if;
    if current_setting('warehouse.mode') = 'window' then
        update warehouse.model_offsets set row_count = counted where model = model_name;
        return;
    end if;
    insert into warehouse.model_offsets as o (model, batch_seq, as_of, checksum, row_count)
    values (
        model_name,
        current_setting('warehouse.to_batch')::bigint,
        current_setting('warehouse.to_as_of')::timestamptz,
        code_checksum,
        counted
    )
    on conflict (model) do update set
        batch_seq = excluded.batch_seq,
        as_of = excluded.as_of,
        checksum = excluded.checksum,
        row_count = excluded.row_count,
        moved_at = excluded.moved_at;
end
$$;

-- A restatement: published figures of a period that was over when they were published, and that are
-- others now.
create table warehouse.restatements (
    restatement_id bigint generated always as identity primary key,
    mart text not null,
    client_id text not null,
    period text not null,
    old_values jsonb not null,
    new_values jsonb,
    cause text not null check (cause in ('late events', 'erasure', 'entity change', 'rebuild')),
    run text not null,
    restated_at timestamptz not null default clock_timestamp()
);

comment on table warehouse.restatements is
'What was published of a closed period and is no more, in the transaction that replaced it.';
comment on column warehouse.restatements.new_values is 'Empty where the row is gone.';

create index on warehouse.restatements (mart, client_id, period);

-- A mart with a row for every day has news when a day begins.
create or replace function warehouse.has_news(wanted_as_of timestamptz) returns boolean
language sql stable as $$
    with

    newest as (
        select coalesce(max(batch_seq), 0) as batch_seq from staging.event_batches
    ),

    stands as (
        select min(batch_seq) as batch_seq, min(as_of) as as_of from warehouse.model_offsets
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
