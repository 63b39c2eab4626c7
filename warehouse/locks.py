"""The warehouse's locks. Each is the lock of an empty table, so that grants say who may take it.

Every login can take an advisory lock and could so stop loads and builds. A table lock needs a
grant on the table (warehouse/schema/access/grants), is granted first come, first served and is
released when the transaction ends. An idle transaction that holds one does not hold back vacuum.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

import psycopg

from warehouse import database
from warehouse.errors import WarehouseError

# How long `held` waits for a build or an erasure. It is the longest time that Dagster lets a run
# take, so a longer wait would be of no use.
LONGEST_WAIT_SECONDS = 6 * 60 * 60


class Lock(StrEnum):
    """Operations that run one at a time, by the table that is locked for them."""

    # Setting up the database: the table of migrations itself.
    INIT = "migrations"
    # Commits of batches: they are numbered in commit order.
    BATCH_SEQ = "lock_batch_seq"
    # Held shared while a chunk is landed, exclusively by an erasure.
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
    """A lock could not be taken; the message says who holds it."""


def take(connection: psycopg.Connection, lock: Lock, *, shared: bool = False) -> None:
    """Take a lock until the end of the current transaction.

    Waits for up to the session's ``lock_timeout``. Raises LockError on a timeout and if the
    session's role may not take the lock.
    """
    try:
        _execute(connection, lock, "row share mode" if shared else "exclusive mode")
    except psycopg.errors.LockNotAvailable:
        raise LockError(
            f"Timed out waiting for {_holders(lock)}, which holds {lock.value}. Nothing is "
            "half done: wait until that session ends, or end it, and run the same command again."
        ) from None


@contextmanager
def held(lock: Lock) -> Iterator[int]:
    """Hold a lock over several transactions, in a session of its own; yield its process id.

    Waits for up to LONGEST_WAIT_SECONDS and prints on standard error whom it waits for. Raises
    LockError like ``take``.
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
        # Fails if this session was terminated meanwhile, and the lock so lost.
        holder.execute("commit")


def _execute(connection: psycopg.Connection, lock: Lock, mode: str) -> None:
    try:
        connection.execute(f"lock table warehouse.{lock.value} in {mode}")
    except psycopg.errors.InsufficientPrivilege:
        raise LockError(
            f"{connection.info.user} may not take {lock.value}: run this as the warehouse's owner, "
            "or as a member of the role that has this permission (SECURITY.md)."
        ) from None


def _holders(lock: Lock) -> str:
    """Describe the sessions that hold a lock."""
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
