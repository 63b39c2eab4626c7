"""Which text each function and view was made from."""

from warehouse.schema.tables.sql import run_sql_beside

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Apply the SQL beside this file."""
    run_sql_beside(__file__)
