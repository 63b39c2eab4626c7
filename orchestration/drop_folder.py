"""The drop folder: files put there are loaded and moved away.

``drop/events`` takes event files, ``drop/clients``, ``drop/units``, ``drop/users`` and
``drop/documents`` entity files. A loaded file moves to ``done/``, one that can't be loaded to
``failed/`` with the reason in a ``.reason.txt`` beside it. Names that start with a dot are left
alone: write a file under such a name and rename it when it is whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ingestion import ledger
from ingestion.entities import EntityKind, load_entities
from ingestion.ledger import Counts
from ingestion.loader import load
from ingestion.source import SourceError, open_source


@dataclass(frozen=True, slots=True)
class Dropped:
    """What became of one dropped file; ``error`` where it could not be loaded."""

    kind: str
    name: str
    counts: Counts
    error: str | None = None


def waiting_files(drop: Path) -> list[tuple[str, Path]]:
    """Return the (kind, file) that wait, entities before events, oldest name first."""
    kinds = [*EntityKind, ledger.EVENTS]
    return [
        (str(kind), path)
        for kind in kinds
        for path in sorted((drop / kind).glob("*"))
        if path.is_file() and not path.name.startswith(".")
    ]


def load_dropped(drop: Path) -> Iterator[Dropped]:
    """Load what waits and move it away, file by file.

    A file that can't be read is set aside; where the database fails the file stays for the next
    time: loader.LoadError, psycopg.Error and database.DatabaseError are raised.
    """
    for kind in [*EntityKind, ledger.EVENTS]:
        (drop / kind).mkdir(parents=True, exist_ok=True)
    for kind, path in waiting_files(drop):
        try:
            source = open_source(str(path))
            if kind == ledger.EVENTS:
                counts = load(source).counts
            else:
                counts = load_entities(EntityKind(kind), source)
        except SourceError as error:
            failed = _move(path, drop / "failed" / kind)
            failed.with_name(f"{failed.name}.reason.txt").write_text(f"{error}\n", "utf-8")
            yield Dropped(kind, path.name, Counts(), str(error))
        else:
            _move(path, drop / "done" / kind)
            yield Dropped(kind, path.name, counts)


def _move(path: Path, directory: Path) -> Path:
    """Move a file into a folder, under a numbered name where its own is taken there."""
    directory.mkdir(parents=True, exist_ok=True)
    target, number = directory / path.name, 1
    while target.exists():
        number += 1
        target = directory / f"{path.name}.{number}"
    return path.rename(target)
