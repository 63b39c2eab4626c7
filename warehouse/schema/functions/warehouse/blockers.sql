-- The sessions that a waiting one waits for, as its owner: of others' sessions a role sees little. What
-- they run is not told, for a query may hold anything.
create or replace function warehouse.blockers(waiting_pid integer)
returns table (
    pid integer, role_name name, application_name text, state text, since timestamptz
)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select a.pid, a.usename, a.application_name, a.state, coalesce(a.xact_start, a.backend_start)
    from unnest(pg_blocking_pids(waiting_pid)) as b (pid)
    inner join pg_stat_activity as a on b.pid = a.pid
    order by 5, 1
$$;

revoke all on function warehouse.blockers(integer) from public;

comment on function warehouse.blockers(integer) is
'Who holds what a session waits for: since when its transaction, or else the session, goes on, and what it does.';
