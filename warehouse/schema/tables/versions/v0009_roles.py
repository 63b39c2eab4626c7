"""Who may do what: access of marts, row-level security, tenants."""

from warehouse.schema.tables.sql import run_sql_beside

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Apply the SQL beside this file."""
    run_sql_beside(__file__)
