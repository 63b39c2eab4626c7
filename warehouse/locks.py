"""Locks of the warehouse: an empty table each, so that the database says who may take them.

Advisory locks, which every login may take, would let anybody stop loads and builds. A table's lock
needs a right on the table (warehouse/schema/access/roles.py), is granted in the order of asking,
ends with its transaction, and an idle transaction that holds one keeps neither rows alive nor
vacuum waiting.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

import psycopg

from warehouse import database
from warehouse.errors import WarehouseError

# Waiting for a build or an erasure takes as long as that takes. Who waits says so at once, and
# gives up when the run of Dagster that it may be part of would be ended, too.
LONGEST_WAIT_SECONDS = 6 * 60 * 60


class Lock(StrEnum):
    """What only one may do at a time, by the table that is locked for it."""

    # Setting the database up: the table of migrations itself.
    INIT = "migrations"
    # Commits of batches, which are numbered in their order.
    BATCH_SEQ = "lock_batch_seq"
    # Chunks that land hold it shared; an erasure waits for them, and they for it.
    LANDING = "lock_landing"
    BUILD = "lock_build"
    # Held shared by each dbt that a build has started.
    DBT = "lock_dbt"
    ERASURE = "lock_erasure"
    CHECKS = "lock_checks"
    EXPORT = "lock_export"
    NOTIFICATIONS = "lock_notifications"
    DROP_FOLDER = "lock_drop_folder"


class LockError(WarehouseError):
    """A lock was not to be had; the message says who holds it."""


def take(connection: psycopg.Connection, lock: Lock, *, shared: bool = False) -> None:
    """Take a lock until the end of the transaction that is under way.

    Waits as long as the session's ``lock_timeout`` lets it. Raises LockError then, and where the
    session's role may not take it.
    """
    try:
        _execute(connection, lock, "row share mode" if shared else "exclusive mode")
    except psycopg.errors.LockNotAvailable:
        raise LockError(
            f"Gave up waiting for {_holders(lock)}, which holds {lock.value}. Nothing is half "
            "done: wait for that session's end, or end it, and run the same command again."
        ) from None


@contextmanager
def held(lock: Lock) -> Iterator[int]:
    """Hold a lock over several transactions, in a session of its own; gives its process id.

    Says on standard error whom it waits for, for up to LONGEST_WAIT_SECONDS. Raises LockError as
    ``take`` does.
    """
    name = lock.value.removeprefix("lock_").replace("_", " ")
    with database.connect(autocommit=True, application_name=f"warehouse {name}") as holder:
        holder.execute("begin")
        try:
            _execute(holder, lock, "exclusive mode nowait")
        except psycopg.errors.LockNotAvailable:
            print(f"Waiting for {_holders(lock)}.", file=sys.stderr)
            holder.execute("rollback")
            holder.execute("begin")
            holder.execute(f"set local lock_timeout = '{LONGEST_WAIT_SECONDS}s'")
            take(holder, lock)
        yield holder.info.backend_pid
        # Fails where this session was ended meanwhile, and others have not been kept waiting.
        holder.execute("commit")


def _execute(connection: psycopg.Connection, lock: Lock, mode: str) -> None:
    try:
        connection.execute(f"lock table warehouse.{lock.value} in {mode}")
    except psycopg.errors.InsufficientPrivilege:
        raise LockError(
            f"{connection.info.user} may not take {lock.value}: run this as the warehouse's owner, "
            "or as a member of the role that it is for (SECURITY.md)."
        ) from None


def _holders(lock: Lock) -> str:
    """Name the sessions that hold a lock, for people."""
    with database.connect(autocommit=True) as connection:
        holders = connection.execute(
            "select format('%%s (process %%s of %%s%%s)', "
            "coalesce(nullif(a.application_name, ''), 'a session'), l.pid, a.usename, "
            "', since ' || to_char(a.xact_start at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS')) "
            "from pg_locks as l inner join pg_stat_activity as a on l.pid = a.pid "
            "where l.relation = to_regclass(%s) and l.granted order by a.xact_start",
            (f"warehouse.{lock.value}",),
        ).fetchall()
    return ", ".join(holder for (holder,) in holders) or "a session that has ended by now"
