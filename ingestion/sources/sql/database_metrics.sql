select
    pg_database_size(d.datid)::float8 as database_size_bytes,
    d.numbackends::float8 as database_connections,
    d.blks_hit::float8 as hits,
    d.blks_read::float8 as reads,
    (
        select coalesce(max(extract(epoch from clock_timestamp() - a.xact_start)), 0)::float8
        from pg_stat_activity as a
        where a.datid = d.datid and a.pid <> pg_backend_pid()
    ) as oldest_transaction_seconds,
    (
        select coalesce(sum(t.n_dead_tup), 0)::float8 from pg_stat_user_tables as t
    ) as dead_rows,
    (
        select max(pg_wal_lsn_diff(pg_current_wal_lsn(), r.replay_lsn))::float8
        from pg_stat_replication as r
    ) as replication_lag_bytes
from pg_stat_database as d
where d.datname = current_database()
