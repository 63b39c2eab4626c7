"""How much of each model has changed since statistics were taken of it."""

from warehouse.schema.tables.sql import run_sql_beside

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Apply the SQL beside this file."""
    run_sql_beside(__file__)
