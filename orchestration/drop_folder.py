"""The drop folder: files put there are loaded, each exactly once, and moved away.

``drop/events`` takes event files, ``drop/clients``, ``drop/units``, ``drop/users`` and
``drop/documents`` entity files. A file is first moved to ``loading/``, under a name of its own by
which the ledger knows it: a load that was killed goes on from there, and one that had finished is
not begun again. From there it moves to ``done/`` or, where it can't be loaded, to ``failed/`` with
the reason in a ``.reason.txt`` beside it. Names that start with a dot are left alone: write a file
under such a name and rename it when it is whole.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg

from ingestion import database, ledger
from ingestion.entities import EntityKind, load_entities
from ingestion.ledger import Counts
from ingestion.loader import load
from ingestion.source import SourceError, open_source

KINDS = [*EntityKind, ledger.EVENTS]
LOADING = "loading"


@dataclass(frozen=True, slots=True)
class Dropped:
    """What became of one dropped file; ``error`` where it could not be loaded."""

    kind: str
    name: str
    counts: Counts
    error: str | None = None


def waiting_files(drop: Path) -> list[tuple[str, Path]]:
    """Return the (kind, file) that wait, entities before events, oldest name first.

    Files whose load was broken off come first.
    """
    return [
        (str(kind), path)
        for kind in KINDS
        for folder in (drop / LOADING / kind, drop / kind)
        for path in sorted(folder.glob("*"))
        if path.is_file() and not path.name.startswith(".")
    ]


def load_dropped(drop: Path) -> Iterator[Dropped]:
    """Load what waits and move it away, file by file; waits for a process that does so already.

    A file that can't be read is set aside; where the database fails the file stays for the next
    time: loader.LoadError, psycopg.Error and database.DatabaseError are raised.
    """
    for kind in KINDS:
        (drop / kind).mkdir(parents=True, exist_ok=True)
    with database.connect(autocommit=True, application_name="warehouse drop folder") as connection:
        connection.execute("select pg_advisory_lock(%s)", (ledger.lock_key("drop folder"),))
        for kind, path in waiting_files(drop):
            claimed, name = _claim(path, drop / LOADING / kind)
            try:
                counts = _load_once(connection, kind, claimed)
            except SourceError as error:
                failed = _move(claimed, drop / "failed" / kind, name)
                failed.with_name(f"{failed.name}.reason.txt").write_text(f"{error}\n", "utf-8")
                yield Dropped(kind, name, Counts(), str(error))
            else:
                _move(claimed, drop / "done" / kind, name)
                yield Dropped(kind, name, counts)


def _claim(path: Path, loading: Path) -> tuple[Path, str]:
    """Move a file to where it is loaded from; return it, and the name that it came with."""
    if path.parent == loading:
        return path, path.name.partition("-")[2]
    return _move(path, loading, f"{uuid.uuid4().hex}-{path.name}"), path.name


def _load_once(connection: psycopg.Connection, kind: str, path: Path) -> Counts:
    # Killed between the load's end and the move: there is nothing left to load.
    if load_id := ledger.finished_load(connection, kind, str(path.absolute())):
        return ledger.counts_of(connection, load_id)
    source = open_source(str(path))
    if kind == ledger.EVENTS:
        return load(source).counts
    return load_entities(EntityKind(kind), source)


def _move(path: Path, directory: Path, name: str) -> Path:
    """Move a file into a folder, under a numbered name where its own is taken there."""
    directory.mkdir(parents=True, exist_ok=True)
    target, number = directory / name, 1
    while target.exists():
        number += 1
        target = directory / f"{name}.{number}"
    return path.rename(target)
