"""Upgrades a database to the schema of this version."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from warehouse import database
from warehouse.errors import WarehouseError
from warehouse.schema.access import roles

MIGRATIONS = Path(__file__).parent / "tables"


class SchemaError(WarehouseError):
    """This version can't upgrade the database's schema."""


@dataclass(frozen=True, slots=True)
class Migrated:
    """The result: the revisions that ran, and statements that only a DBA may run."""

    ran: list[str]
    for_dba: list[str]


def migrate() -> Migrated:
    """Run the pending migrations in one transaction, oldest first, then set up the roles.

    Safe to run at any time and concurrently: a second run waits for the first and then finds
    nothing to do. Raises ``database.DatabaseError`` if the server can't be used, and SchemaError if
    another version has set up the database.
    """
    from alembic import command
    from alembic.config import Config
    from alembic.migration import MigrationContext
    from alembic.util import CommandError
    from sqlalchemy import create_engine, pool

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    engine = create_engine(
        "postgresql+psycopg://", creator=database.connect, poolclass=pool.NullPool
    )
    ran: list[str] = []
    config.attributes["on_version_apply"] = lambda *, step, **_: ran.append(step.up_revision_id)
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise SchemaError(
                f"The database at {database.where()} was set up by another version of the "
                f"warehouse, which this one cannot upgrade ({error}). Use that version, or start "
                "with a new database (WAREHOUSE_HOME or WAREHOUSE_DATABASE_URL) and load again."
            ) from None
        current = MigrationContext.configure(
            connection, opts={"version_table": "migrations", "version_table_schema": "warehouse"}
        ).get_current_revision()
    if current is None:
        raise RuntimeError(f"no migration found in {MIGRATIONS}")
    return Migrated(ran, roles.set_up())
