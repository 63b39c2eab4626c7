"""Keeps what rows hold out of dbt's errors, and so out of its log and artifacts.

dbt imports by itself whatever module on its path is named ``dbt_…``; this one stands in a folder
that builds put there (``orchestration.build.dbt_environment``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

# The driver is dbt's own, whatever other one the project uses.
from dbt.adapters.postgres.connections import PostgresConnectionManager, psycopg2
from dbt_common.exceptions import DbtDatabaseError

_handled = PostgresConnectionManager.exception_handler


@contextmanager
def _discreetly(self: PostgresConnectionManager, sql: str) -> Iterator[None]:
    with _handled(self, sql):
        try:
            yield
        except psycopg2.DatabaseError as error:
            raise DbtDatabaseError(_told(error)) from None


def _told(error: psycopg2.DatabaseError) -> str:
    """Return the message without details, which quote rows, as data exceptions do altogether."""
    if (error.pgcode or "").startswith("22"):
        return f"a value does not fit ({type(error).__name__}, SQLSTATE {error.pgcode})"
    hint = f"\nHINT:  {error.diag.message_hint}" if error.diag.message_hint else ""
    return f"{error.diag.message_primary or str(error).strip()}{hint}"


PostgresConnectionManager.exception_handler = _discreetly
