"""Tables of loaded data: raw events, the ledger, the quarantine, entities."""

from warehouse.schema.tables.sql import run_sql_beside

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Apply the SQL beside this file."""
    run_sql_beside(__file__)
