"""What receipts of erasures say beside removed rows: changes, files, and older snapshots."""

from warehouse.schema.tables.sql import run_sql_beside

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Apply the SQL beside this file."""
    run_sql_beside(__file__)
