"""Erasure of a subject: receipts, the search for a value, and builds that go past an erasure."""

from warehouse.schema.tables.sql import run_sql_beside

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Apply the SQL beside this file."""
    run_sql_beside(__file__)
