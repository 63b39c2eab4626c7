"""Tables of incremental builds: builds, offsets, check results, locks."""

from warehouse.schema.tables.sql import run_sql_beside

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Apply the SQL beside this file."""
    run_sql_beside(__file__)
