"""How busy the warehouse's database is: size, connections, cache, transactions, replicas."""

from __future__ import annotations

import psycopg
from psycopg.rows import dict_row

from warehouse.sql_files import read_sql

_METRICS = read_sql(__file__, "database_metrics")
# Its size is read from the files of all tables.
TIMEOUT_MS = 30_000


class DatabaseMetrics:
    """Reads the metrics of a database."""

    def __init__(self) -> None:
        # Blocks that were found in the cache and that were read from disk, at the last reading.
        self._blocks = (0.0, 0.0)

    def read(self, connection: psycopg.Connection) -> dict[str, float]:
        """Return the metrics; the ratio of the cache, in percent, is that since the last reading.

        It is left out where nothing was read, and the lag where there is no replica, or where this
        login may not see it: only a member of `pg_monitor` sees what other logins do. Raises
        psycopg.Error.
        """
        with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
            cursor.execute("set transaction read only")
            cursor.execute(f"set local statement_timeout = {TIMEOUT_MS}")
            found = cursor.execute(_METRICS).fetchone() or {}
        hits, reads = found.pop("hits"), found.pop("reads")
        last_hits, last_reads = self._blocks
        self._blocks = (hits, reads)
        if hits < last_hits or reads < last_reads:
            # Statistics begin anew after a crash.
            last_hits = last_reads = 0.0
        hits, reads = hits - last_hits, reads - last_reads
        ratio = round(100 * hits / (hits + reads), 2) if hits + reads else None
        metrics = {**found, "cache_hit_ratio": ratio}
        return {name: value for name, value in metrics.items() if value is not None}
