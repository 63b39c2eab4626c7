-- Takes the planner's statistics of the tables of staging that have changed by a tenth since that was
-- done last: what a load has brought is planned with by the build that reads it, whether or not
-- autovacuum has come by. As the owner, for builders may only read these tables. A server that
-- crashed has forgotten how many rows were written; how large a table is it can't forget.
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
'Takes statistics of the tables of staging that have changed by a tenth since the last time.';
