"""Receipts of erasures; subjects are stored as keyed hashes only."""

from warehouse.schema.tables.sql import run_sql_beside

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Apply the SQL beside this file."""
    run_sql_beside(__file__)
