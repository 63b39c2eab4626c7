"""Removes row values from dbt's database errors, and names the session that blocked a build.

dbt's log and artifacts hold the redacted message, too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

# dbt's own driver; the project itself uses psycopg 3.
from dbt.adapters.contracts.connection import Connection
from dbt.adapters.postgres.connections import PostgresConnectionManager, psycopg2
from dbt_common.exceptions import DbtDatabaseError

from warehouse.database import watch_blockers

_original_handler = PostgresConnectionManager.exception_handler


@contextmanager
def _redacting_handler(self: PostgresConnectionManager, sql: str) -> Iterator[None]:
    connection = self.get_if_exists()
    with (
        _original_handler(self, sql),
        watch_blockers(lambda: _backend_pid(connection), _connect) as blockers,
    ):
        try:
            yield
        except psycopg2.errors.LockNotAvailable as error:
            raise DbtDatabaseError(f"{_redacted(error)}. {blockers()}") from None
        except psycopg2.DatabaseError as error:
            raise DbtDatabaseError(_redacted(error)) from None


def _backend_pid(connection: Connection | None) -> int | None:
    # Reading the handle of a closed connection would open it.
    is_open = connection is not None and connection.state == "open"
    return connection.handle.info.backend_pid if is_open else None


def _connect() -> psycopg.Connection:
    # libpq's variables hold all but the password, which dbt reads from a variable of its own.
    return psycopg.connect(
        password=os.environ.get("DBT_ENV_SECRET_PGPASSWORD"), application_name="warehouse dbt"
    )


def _redacted(error: psycopg2.DatabaseError) -> str:
    """Return the error's message without row values.

    The detail of any error may quote rows. Data exceptions (class 22) quote them in the message.
    """
    if (error.pgcode or "").startswith("22"):
        return f"a value does not fit ({type(error).__name__}, SQLSTATE {error.pgcode})"
    hint = f"\nHINT:  {error.diag.message_hint}" if error.diag.message_hint else ""
    return f"{error.diag.message_primary or str(error).strip()}{hint}"


PostgresConnectionManager.exception_handler = _redacting_handler
