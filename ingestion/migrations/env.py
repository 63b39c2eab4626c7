"""Alembic's entry: pending migrations, then functions and views, in one transaction.

One migrator at a time.
"""

from __future__ import annotations

from alembic import context
from sqlalchemy import text

from ingestion.functions import apply_functions
from ingestion.ledger import lock_key

connection = context.config.attributes["connection"]
with connection.begin():
    # Whoever migrates holds this lock until commit; a second `warehouse init` waits, then finds
    # nothing left to do.
    connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": lock_key("init")})
    connection.execute(text("create schema if not exists warehouse"))
    context.configure(
        connection=connection,
        version_table="migrations",
        version_table_schema="warehouse",
        on_version_apply=context.config.attributes["on_version_apply"],
    )
    context.run_migrations()
    apply_functions(connection.connection.dbapi_connection)
