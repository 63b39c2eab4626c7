"""The drop folder: files put there are loaded, each exactly once, and moved away.

``drop/events`` takes event files, ``drop/clients``, ``drop/units``, ``drop/users`` and
``drop/documents`` entity files. A file is first moved to ``loading/``, under a name of its own by
which the ledger knows it: a load that was killed goes on from there, and one that had finished is
not begun again. From there it moves to ``done/`` or, where it can't be loaded, to ``failed/`` with
the reason in a ``.reason.txt`` beside it. Names that start with a dot are left alone: write a file
under such a name and rename it when it is whole. A file under another name is taken once it has
stood still; where it grew while it was loaded, the rest is loaded when it stands still again.

Folders that are made here are private, and so is each file from the moment it is taken. A folder
that the operator has made keeps its permissions, so that producers may write into it. Files in
``done/`` and ``failed/`` expire.
"""

from __future__ import annotations

import os
import stat
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg

from ingestion import database, ledger, locks, private
from ingestion.entities import EntityKind, load_entities
from ingestion.errors import WarehouseError, printable
from ingestion.ledger import Counts
from ingestion.loader import LoadError, load
from ingestion.locks import Lock, LockError
from ingestion.source import open_source

KINDS = [*EntityKind, ledger.EVENTS]
LOADING = "loading"
DONE, FAILED = KEPT = ("done", "failed")
# A file that changed less than so long ago may still be written.
STILL_SECONDS = 5
# In bytes, on common file systems.
LONGEST_NAME = 255


@dataclass(frozen=True, slots=True)
class Dropped:
    """What became of one dropped file; ``error`` where it could not be loaded."""

    kind: str
    name: str
    counts: Counts
    error: str | None = None


def waiting_files(drop: Path) -> list[tuple[str, Path]]:
    """Return the (kind, file) that wait and stand still, entities before events, by name.

    Files whose load was broken off come first.
    """
    return [
        (str(kind), path)
        for kind in KINDS
        for folder in (drop / LOADING / kind, drop / kind)
        for path in sorted(folder.glob("*"))
        if _stands_still(path) and not path.name.startswith(".")
    ]


def _stands_still(path: Path) -> bool:
    """Tell whether it is a file that nobody seems to write; times far ahead tell nothing."""
    try:
        status = path.stat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and abs(time.time() - status.st_mtime) >= STILL_SECONDS


def load_dropped(drop: Path) -> Iterator[Dropped]:
    """Load what waits and move it away, file by file; waits for a process that does so already.

    A file that can't be loaded is set aside; where the database fails the file stays for the next
    time: loader.LoadError, locks.LockError, psycopg.Error and database.DatabaseError are raised.
    """
    for kind in KINDS:
        private.make_folder(drop / kind)
    for folder in (LOADING, *KEPT):
        private.make_private(drop / folder)
    with (
        locks.held(Lock.DROP_FOLDER),
        database.connect(autocommit=True, application_name="warehouse drop folder") as connection,
    ):
        for kind, waiting in waiting_files(drop):
            # Those before it may have taken long.
            if not _stands_still(waiting):
                continue
            path, name, loading = waiting, waiting.name, drop / LOADING / kind
            try:
                if waiting.parent == loading:
                    name = name.partition("-")[2]
                else:
                    path = _move(waiting, loading, f"{uuid.uuid4().hex}-{name}")
                counts, is_whole = _load_once(connection, kind, path)
            except (psycopg.Error, LoadError, LockError, database.DatabaseError):
                raise
            except Exception as error:
                reason = _reason(error)
                failed = _keep(path, drop / FAILED / kind, name)
                beside = _beside(failed, ".reason.txt")
                beside.write_text(f"{reason}\n", "utf-8")
                private.take_from_others(beside)
                yield Dropped(kind, printable(name), Counts(), reason)
            else:
                if is_whole:
                    _keep(path, drop / DONE / kind, name)
                yield Dropped(kind, printable(name), counts)


def _load_once(connection: psycopg.Connection, kind: str, path: Path) -> tuple[Counts, bool]:
    """Load a file; return what became of its lines, and whether these were all of it."""
    source = open_source(str(path))
    finished = ledger.finished_load(connection, kind, source.name)
    if kind == ledger.EVENTS:
        if finished:
            # Killed between the load's end and the move: it finds nothing left, or what is new.
            ledger.end_load(connection, finished, "failed", "the file was not moved away")
        counts = load(source).counts
    else:
        # Once more does no harm.
        counts = load_entities(EntityKind(kind), source)
    is_whole = path.stat().st_size == source.position()
    if not is_whole and (finished := ledger.finished_load(connection, kind, source.name)):
        # The last line may be half one: next time all is read, and what landed is a duplicate.
        ledger.end_load(connection, finished, "abandoned", "the file grew while it was loaded")
    return counts, is_whole


def _reason(error: Exception) -> str:
    """Return for people why a file can't be loaded, without what it holds."""
    if isinstance(error, WarehouseError):
        return str(error)
    why = isinstance(error, OSError) and error.strerror
    return f"It can't be loaded: {why or type(error).__name__}. `warehouse load` tells more."


def _move(path: Path, directory: Path, name: str) -> Path:
    """Move a file into a folder, under a numbered name where its own is taken there."""
    private.make_folder(directory)
    target, number = directory / name, 1
    while target.exists():
        number += 1
        target = _beside(directory / name, f".{number}")
    private.take_from_others(path)
    return path.rename(target)


def _keep(path: Path, directory: Path, name: str) -> Path:
    """Move a file that is done with into a folder where it stays until it expires."""
    if private.is_ours(path.lstat()):
        # Its age counts from now.
        os.utime(path, follow_symlinks=False)
    return _move(path, directory, name)


def expire_files(drop: Path, days: int, dry_run: bool) -> int:
    """Delete the files that were loaded or set aside so many days ago; return how many.

    With ``dry_run`` only count them.
    """
    oldest = time.time() - days * 24 * 60 * 60
    old = [
        path
        for folder in KEPT
        for path in (drop / folder).rglob("*")
        if not stat.S_ISDIR((status := path.lstat()).st_mode) and _came(status) < oldest
    ]
    if not dry_run:
        for path in old:
            path.unlink(missing_ok=True)
    return len(old)


def _came(status: os.stat_result) -> float:
    """Return when a file came to where it is; another user's keeps its times when it is moved."""
    return status.st_mtime if private.is_ours(status) else status.st_ctime


def _beside(path: Path, ending: str) -> Path:
    """Return a path's name with an ending, cut where it would be too long for a file."""
    name = os.fsencode(path.name)[: LONGEST_NAME - len(ending)]
    return path.with_name(os.fsdecode(name) + ending)
