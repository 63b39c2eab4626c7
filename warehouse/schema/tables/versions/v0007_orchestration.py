"""What runs leave behind, and exports."""

from warehouse.schema.tables.sql import run_sql_beside

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Apply the SQL beside this file."""
    run_sql_beside(__file__)
