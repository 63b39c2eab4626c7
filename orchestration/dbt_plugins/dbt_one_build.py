"""Ties dbt's sessions to the build that dbt was started by, so that builds never overlap.

dbt imports this module as it does `dbt_discretion`. A builder that is killed can't end its dbt. So
each session of dbt holds a lock that the next build waits for, and is opened only while the builder
holds the lock of builds: what is under way is finished, and nothing is begun.
"""

from __future__ import annotations

import os

from dbt.adapters.contracts.connection import Connection
from dbt.adapters.postgres.connections import PostgresConnectionManager
from dbt_common.exceptions import DbtDatabaseError

# In this order: whoever has the lock and then still finds the builder is before the next build.
_HOLD = "select pg_advisory_lock_shared(%s)"
_IS_BUILDING = """
    select exists (
        select from pg_locks
        where
            pid = %s and locktype = 'advisory' and objsubid = 1 and granted
            and (classid::bigint << 32) | objid::bigint = %s
    )
"""

_open = PostgresConnectionManager.open


def _open_in_build(connection: Connection) -> Connection:
    opened = _open(connection)
    if builder := os.environ.get("WAREHOUSE_BUILDER"):
        pid, build, of_dbt = map(int, builder.split())
        with opened.handle.cursor() as cursor:
            cursor.execute(_HOLD, (of_dbt,))
            cursor.execute(_IS_BUILDING, (pid, build))
            (is_building,) = cursor.fetchone()
        opened.handle.commit()
        if not is_building:
            raise DbtDatabaseError("The build that this dbt belongs to has ended; nothing is built")
    return opened


PostgresConnectionManager.open = staticmethod(_open_in_build)
