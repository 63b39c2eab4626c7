-- statement_timestamp() is from before the sessions are looked at: what begins later is later.
-- A login without pg_read_all_stats sees that others' sessions exist, and nothing of them. A
-- standby does not know the sessions of its primary.
select
    statement_timestamp() as asked_at,
    min(xact_start) as oldest,
    pg_is_in_recovery()
    or coalesce(bool_or(query = '<insufficient privilege>' or state = 'disabled'), false)
        as are_hidden
from pg_stat_activity
where
    datname = current_database()
    and pid <> pg_backend_pid()
    -- These write no rows of applications.
    and coalesce(backend_type not in ('autovacuum worker', 'walsender'), true)
