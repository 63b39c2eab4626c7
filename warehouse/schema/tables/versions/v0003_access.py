"""Tenants, and the access that models declare."""

from warehouse.schema.tables.sql import run_sql_beside

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Apply the SQL beside this file."""
    run_sql_beside(__file__)
