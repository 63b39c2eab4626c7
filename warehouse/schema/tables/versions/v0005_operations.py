"""Alerts, notifications, runs and exports."""

from warehouse.schema.tables.sql import run_sql_beside

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Apply the SQL beside this file."""
    run_sql_beside(__file__)
