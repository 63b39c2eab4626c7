-- Drops a month of raw events, as the owner, and returns their number. Does nothing and returns NULL
-- if one of them belongs to a batch after `consumed`. Blocks loaders meanwhile.
create or replace function staging.drop_raw_month(month_start date, consumed bigint) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
set timezone = 'UTC' set datestyle = 'ISO, MDY' as $$
declare
    partition regclass := to_regclass(format('staging.%I', 'raw_events_' || to_char(month_start, 'YYYY_MM')));
    is_ahead boolean;
    n bigint;
begin
    lock table warehouse.lock_partitions in exclusive mode;
    -- In the same order as loaders, to avoid deadlocks.
    lock table only staging.raw_events in access exclusive mode;
    execute format('lock table %s in access exclusive mode', partition);
    execute format(
        'select exists (select 1 from staging.event_batches as b '
        'inner join %s as r on b.batch_id = r.batch_id where b.batch_seq > $1)',
        partition
    ) into is_ahead using consumed;
    if is_ahead then
        return null;
    end if;
    execute format('select count(*) from %s', partition) into n;
    begin
        execute format('drop table %s', partition);
    exception when dependent_objects_still_exist then
        -- Another object depends on the table, such as a column of its row type: only remove the rows.
        execute format('truncate table %s', partition);
    end;
    -- An empty month loses nothing, so it must not block rebuilds (see warehouse.begin_model).
    if n > 0 then
        insert into staging.dropped_months as d (month, events) values (month_start, n)
        on conflict (month) do update
        set events = d.events + excluded.events, dropped_at = excluded.dropped_at;
    end if;
    return n;
end
$$;

revoke all on function staging.drop_raw_month(date, bigint) from public;
