-- Whether a session holds the lock of builds: models are run only while their builder does.
create or replace function warehouse.is_building(session_process integer) returns boolean
language sql as $$
    select exists (
        select 1 from pg_locks
        where
            pid = session_process
            and locktype = 'relation'
            and granted
            and mode = 'ExclusiveLock'
            and relation = 'warehouse.lock_build'::regclass
    )
$$;
