"""Ties dbt's sessions to the build that dbt was started by, so that builds never overlap.

dbt imports this module as it does `dbt_discretion`. A builder that is killed can't end a dbt that
is a process of its own. So that one holds a lock that the next build waits for, and opens sessions
only while the builder holds the lock of builds: what is under way is finished, and nothing is
begun.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from dbt.adapters.contracts.connection import Connection

# The driver is dbt's own, whatever other one the project uses.
from dbt.adapters.postgres.connections import PostgresConnectionManager, psycopg2
from dbt_common.exceptions import DbtDatabaseError

# Shared: the next build asks for all of it.
_HOLD = "lock table warehouse.lock_dbt in row share mode"
# In this order: whoever has the lock and then still finds the builder is before the next build.
_IS_BUILDING = """
    select exists (
        select from pg_locks
        where
            pid = %s and locktype = 'relation' and granted and mode = 'ExclusiveLock'
            and relation = 'warehouse.lock_build'::regclass
    )
"""

_open = PostgresConnectionManager.open


@cache
def _hold(dsn: str, password: str | None) -> Any:
    """Hold the lock of dbt until this process ends."""
    holder = psycopg2.connect(dsn, password=password)
    holder.cursor().execute(_HOLD)
    return holder


def _open_in_build(connection: Connection) -> Connection:
    opened = _open(connection)
    if builder := os.environ.get("WAREHOUSE_BUILDER"):
        process, holder = map(int, builder.split())
        if process != os.getpid():
            _hold(opened.handle.dsn, opened.credentials.password)
        with opened.handle.cursor() as cursor:
            cursor.execute(_IS_BUILDING, (holder,))
            (is_building,) = cursor.fetchone()
        opened.handle.commit()
        if not is_building:
            raise DbtDatabaseError("The build that this dbt belongs to has ended; nothing is built")
    return opened


PostgresConnectionManager.open = staticmethod(_open_in_build)
