"""What the search of erasures finds, and what it leaves alone."""

from warehouse.schema.tables.sql import run_sql_beside

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Apply the SQL beside this file."""
    run_sql_beside(__file__)
