"""Runs the SQL file beside a migration."""

from __future__ import annotations

from pathlib import Path

from alembic import op


def run_sql_beside(migration: str) -> None:
    """Execute the ``.sql`` file with the same name as the migration file ``migration``."""
    statements = Path(migration).with_suffix(".sql").read_text("utf-8")
    # By the driver itself: SQLAlchemy and Alembic would look for placeholders in the text.
    op.get_bind().connection.dbapi_connection.execute(statements)
