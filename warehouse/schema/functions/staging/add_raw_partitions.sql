-- Adds the monthly partitions that do not exist yet. Runs as the owner, so that loaders need no
-- permission to create tables. It creates a table and then attaches it: other loaders can keep writing
-- meanwhile, which `create table … partition of` would block.
create or replace function staging.add_raw_partitions(months date []) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
set timezone = 'UTC' set datestyle = 'ISO, MDY' as $$
declare
    month_start date;
    partition_name text;
    added integer := 0;
begin
    lock table warehouse.lock_partitions in exclusive mode;
    foreach month_start in array months loop
        month_start := date_trunc('month', month_start)::date;
        -- The same limits as for timestamps of events, so that a loader can't create other months.
        if month_start < '2000-01-01' or month_start > now() at time zone 'utc' + interval '1 day' then
            raise exception 'no event can lie in the month of %', month_start
                using errcode = 'invalid_parameter_value';
        end if;
        partition_name := 'raw_events_' || to_char(month_start, 'YYYY_MM');
        continue when to_regclass(format('staging.%I', partition_name)) is not null;
        execute format(
            'create table staging.%I (like staging.raw_events including all)', partition_name
        );
        execute format(
            'alter table staging.raw_events attach partition staging.%I for values from (%L) to (%L)',
            partition_name,
            month_start::timestamp at time zone 'utc',
            (month_start + interval '1 month') at time zone 'utc'
        );
        added := added + 1;
    end loop;
    return added;
end
$$;

revoke all on function staging.add_raw_partitions(date []) from public;

comment on function staging.add_raw_partitions(date []) is
'Adds the monthly partitions of staging.raw_events that the given days need; returns how many were new.';
