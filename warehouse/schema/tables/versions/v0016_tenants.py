"""Says of tenants' roles that they do not sign in."""

from warehouse.schema.tables.sql import run_sql_beside

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Apply the SQL beside this file."""
    run_sql_beside(__file__)
