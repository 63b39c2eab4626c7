"""Says in dbt's errors who holds what was waited for too long, and nothing that rows hold.

So it is in dbt's log and artifacts, too.

dbt imports by itself whatever module on its path is named ``dbt_…``; this one stands in a folder
that builds put there (``orchestration.operations.build.dbt_environment``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

# The driver is dbt's own, whatever other one the project uses.
from dbt.adapters.contracts.connection import Connection
from dbt.adapters.postgres.connections import PostgresConnectionManager, psycopg2
from dbt_common.exceptions import DbtDatabaseError

from warehouse.database import watch_blockers

_handled = PostgresConnectionManager.exception_handler


@contextmanager
def _discreetly(self: PostgresConnectionManager, sql: str) -> Iterator[None]:
    connection = self.get_if_exists()
    with _handled(self, sql), watch_blockers(lambda: _pid(connection), _connect) as seen:
        try:
            yield
        except psycopg2.errors.LockNotAvailable as error:
            raise DbtDatabaseError(f"{_told(error)}. {seen()}") from None
        except psycopg2.DatabaseError as error:
            raise DbtDatabaseError(_told(error)) from None


def _pid(connection: Connection | None) -> int | None:
    """Return the session's process at the server; asking for the handle would open it."""
    is_open = connection is not None and connection.state == "open"
    return connection.handle.info.backend_pid if is_open else None


def _connect() -> psycopg.Connection:
    """Connect as dbt does: by libpq's variables, but for the password."""
    return psycopg.connect(
        password=os.environ.get("DBT_ENV_SECRET_PGPASSWORD"), application_name="warehouse dbt"
    )


def _told(error: psycopg2.DatabaseError) -> str:
    """Return the message without details, which quote rows, as data exceptions do altogether."""
    if (error.pgcode or "").startswith("22"):
        return f"a value does not fit ({type(error).__name__}, SQLSTATE {error.pgcode})"
    hint = f"\nHINT:  {error.diag.message_hint}" if error.diag.message_hint else ""
    return f"{error.diag.message_primary or str(error).strip()}{hint}"


PostgresConnectionManager.exception_handler = _discreetly
