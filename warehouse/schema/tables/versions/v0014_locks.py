"""What is locked for what only one may do at a time."""

from warehouse.schema.tables.sql import run_sql_beside

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Apply the SQL beside this file."""
    run_sql_beside(__file__)
