"""Which builds Dagster was told of."""

from warehouse.schema.tables.sql import run_sql_beside

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Apply the SQL beside this file."""
    run_sql_beside(__file__)
