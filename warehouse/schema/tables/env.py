"""Alembic's entry: pending migrations, then functions and views, in one transaction.

One migrator at a time.
"""

from __future__ import annotations

import psycopg
from alembic import context

from warehouse import locks
from warehouse.schema.functions import apply_functions

# Of a database that has no table to lock yet.
FIRST_INIT = 0x7761726568757365


def lock_init(connection: psycopg.Connection) -> None:
    """Wait for another `warehouse init`, and keep others waiting until this transaction ends."""
    is_set_up = "select to_regclass('warehouse.migrations') is not null"
    if connection.execute(is_set_up).fetchone() != (True,):
        connection.execute("select pg_advisory_xact_lock(%s)", (FIRST_INIT,))
        connection.execute("create schema if not exists warehouse")
    if connection.execute(is_set_up).fetchone() == (True,):
        locks.take(connection, locks.Lock.INIT)


connection = context.config.attributes["connection"]
with connection.begin():
    # A second `warehouse init` waits, then finds nothing left to do.
    lock_init(connection.connection.dbapi_connection)
    context.configure(
        connection=connection,
        version_table="migrations",
        version_table_schema="warehouse",
        on_version_apply=context.config.attributes["on_version_apply"],
    )
    context.run_migrations()
    apply_functions(connection.connection.dbapi_connection)
