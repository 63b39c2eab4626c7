"""`warehouse init`: sets the database up."""

from __future__ import annotations

from orchestration.cli.options import Json
from orchestration.cli.output import emit


def init(json: Json = False) -> None:
    """Set the database up, or bring it up to date. Safe to run at any time."""
    from ingestion.sources import drop_folder
    from warehouse import database, private_files
    from warehouse.schema.migrate import migrate
    from warehouse.settings import settings

    migrated = migrate()
    private_files.tighten_home(settings().home)
    drop_folder.create(settings().drop)
    done = f"ran {len(migrated.ran)} migrations" if migrated.ran else "is up to date"
    text = f"The warehouse at {database.where()} {done}."
    if migrated.for_dba:
        text += " The owner can use it now. To give roles their permissions, a superuser must run:"
    emit(
        {"migrations": migrated.ran, "for_dba": migrated.for_dba},
        text,
        *migrated.for_dba,
        json=json,
    )
