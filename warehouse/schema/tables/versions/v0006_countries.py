"""Where visitors come from, by country."""

from warehouse.schema.tables.sql import run_sql_beside

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Apply the SQL beside this file."""
    run_sql_beside(__file__)
