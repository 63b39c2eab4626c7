"""Runs the SQL file that stands beside a migration."""

from __future__ import annotations

from pathlib import Path

from alembic import op


def run_sql_beside(migration: str) -> None:
    """Execute the ``.sql`` file named like the migration file ``migration``."""
    statements = Path(migration).with_suffix(".sql").read_text("utf-8")
    # The driver itself, so that neither layer above looks for placeholders in the text.
    op.get_bind().connection.dbapi_connection.execute(statements)
