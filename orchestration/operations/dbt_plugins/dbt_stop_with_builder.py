"""Stops dbt when the process that started it is gone, so that two builds never overlap.

dbt may be a process of its own, and a builder that is killed cannot end it. Such a dbt holds
``lock_dbt``, and the next build waits for that lock. dbt opens a new session only while its builder
holds ``lock_build``: statements that are running finish, and no further one starts.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from dbt.adapters.contracts.connection import Connection

# dbt's own driver; the project itself uses psycopg 3.
from dbt.adapters.postgres.connections import PostgresConnectionManager, psycopg2
from dbt_common.exceptions import DbtDatabaseError

# A shared lock. The next build asks for the exclusive one, and so waits for every dbt.
_TAKE_LOCK = "lock table warehouse.lock_dbt in row share mode"
# Ask only after taking the lock: a dbt that has it and still finds its builder precedes the next
# build.
_IS_BUILDING = "select warehouse.is_building(%s)"

_original_open = PostgresConnectionManager.open


@cache
def _hold_dbt_lock(dsn: str, password: str | None) -> Any:
    """Hold the lock of dbt until this process ends: the cache keeps the connection open."""
    holder = psycopg2.connect(dsn, password=password)
    holder.cursor().execute(_TAKE_LOCK)
    return holder


def _open_while_building(connection: Connection) -> Connection:
    opened = _original_open(connection)
    if builder := os.environ.get("WAREHOUSE_BUILDER"):
        process, holder = map(int, builder.split())
        if process != os.getpid():
            _hold_dbt_lock(opened.handle.dsn, opened.credentials.password)
        with opened.handle.cursor() as cursor:
            cursor.execute(_IS_BUILDING, (holder,))
            (is_building,) = cursor.fetchone()
        opened.handle.commit()
        if not is_building:
            raise DbtDatabaseError("The build that started this dbt has ended: nothing was built")
    return opened


PostgresConnectionManager.open = staticmethod(_open_while_building)
