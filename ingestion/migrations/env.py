"""Alembic's entry: all pending migrations in one transaction, one migrator at a time."""

from __future__ import annotations

from alembic import context
from sqlalchemy import text

# Whoever migrates holds this lock until commit; a second `warehouse init` waits, then finds
# nothing left to do.
MIGRATION_LOCK = 7_110_001

connection = context.config.attributes["connection"]
with connection.begin():
    connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
    connection.execute(text("create schema if not exists warehouse"))
    context.configure(
        connection=connection,
        version_table="migrations",
        version_table_schema="warehouse",
        on_version_apply=context.config.attributes["on_version_apply"],
    )
    context.run_migrations()
