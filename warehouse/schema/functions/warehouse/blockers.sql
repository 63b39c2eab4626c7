-- Lists the sessions that block a waiting session. Runs as the owner, because other roles see little
-- of others' sessions. Their queries are not shown: they may contain anything.
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
'The sessions that block a waiting one, with their state and the start of their transaction or, without one, session.';
