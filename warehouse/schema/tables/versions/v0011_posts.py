"""Posts to the webhook that wait until they are taken, and what an erasure explains of the row."""

from warehouse.schema.tables.sql import run_sql_beside

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Apply the SQL beside this file."""
    run_sql_beside(__file__)
