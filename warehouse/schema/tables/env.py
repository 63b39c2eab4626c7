"""Alembic's entry point: runs pending migrations, then functions and views, in one transaction.

On a cluster, tables are distributed before functions are created.

Only one `warehouse init` runs at a time.
"""

from __future__ import annotations

import psycopg
from alembic import context

from warehouse import locks
from warehouse.schema import cluster
from warehouse.schema.functions import apply_functions
from warehouse.settings import settings

# Key of the advisory lock while there is no table to lock yet.
FIRST_INIT = 0x7761726568757365


def lock_init(connection: psycopg.Connection) -> None:
    """Wait for another `warehouse init`, and block others until this transaction ends."""
    is_set_up = "select to_regclass('warehouse.migrations') is not null"
    if connection.execute(is_set_up).fetchone() != (True,):
        connection.execute("select pg_advisory_xact_lock(%s)", (FIRST_INIT,))
        connection.execute("create schema if not exists warehouse")
    if connection.execute(is_set_up).fetchone() == (True,):
        locks.take(connection, locks.Lock.INIT)


connection = context.config.attributes["connection"]
with connection.begin():
    lock_init(connection.connection.dbapi_connection)
    context.configure(
        connection=connection,
        version_table="migrations",
        version_table_schema="warehouse",
        on_version_apply=context.config.attributes["on_version_apply"],
    )
    context.run_migrations()
    if settings().citus:
        cluster.set_up(connection.connection.dbapi_connection)
    apply_functions(connection.connection.dbapi_connection)
