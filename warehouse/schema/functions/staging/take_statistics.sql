-- Analyzes the tables of staging of which a tenth has changed since they were last analyzed, so that
-- a build plans with statistics of the newest load even if autovacuum has not run yet. Runs as the
-- owner, because builders may only read these tables. It also compares table sizes, because a crash of
-- the server resets the count of modified rows.
create or replace function staging.take_statistics() returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
set timezone = 'UTC' set datestyle = 'ISO, MDY' as $$
declare
    grown regclass;
begin
    for grown in
        select c.oid::regclass
        from pg_class as c
        where
            c.relnamespace = 'staging'::regnamespace
            and c.relkind = 'r'
            and (
                pg_relation_size(c.oid) > 1.1 * c.relpages * current_setting('block_size')::integer
                or pg_stat_get_mod_since_analyze(c.oid) > 0.1 * greatest(c.reltuples, 0) + 50
            )
        order by c.oid
    loop
        execute format('analyze %s', grown);
    end loop;
end
$$;

revoke all on function staging.take_statistics() from public;

comment on function staging.take_statistics() is
'Analyzes the tables of staging of which a tenth has changed since they were last analyzed.';
