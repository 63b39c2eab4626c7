"""The drop folder: each file in it is loaded exactly once and then moved away.

Event files go into ``drop/events``, entity files into ``drop/clients``, ``drop/units``,
``drop/users`` and ``drop/documents``. A file is first moved to ``loading/`` under a unique name,
by which the ledger knows it: so an interrupted load is resumed there, and a finished one is not
repeated. Then it is moved to ``done/`` or, if it can't be loaded or all its lines were rejected, to
``failed/`` (quarantined) with the reason in a ``.reason.txt`` beside it.

Names that start with a dot are ignored: write a file under such a name and rename it when it is
complete. A file with any other name is loaded once it has not changed for SETTLED_SECONDS. If it
grew while it was loaded, it stays in ``loading/`` and is loaded again later.

Producers must not make the warehouse read files for them that they may not read themselves. So a
dropped file is read only in ``loading/``, where nobody else can replace it, and only if it is a
regular file without hard links. Links and pipes are quarantined unread.

Folders that are created here are private, and so is each file once it is moved. A folder that the
operator has created keeps its permissions, so that producers can write into it. Files in ``done/``
and ``failed/`` expire.
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

from ingestion.load import ledger
from ingestion.load.entities import EntityKind, load_entities
from ingestion.load.ledger import Counts
from ingestion.load.loader import LoadError, load
from ingestion.load.workers import Workers
from ingestion.sources.files import open_own, open_source
from warehouse import database, locks, private_files
from warehouse.errors import WarehouseError, printable
from warehouse.locks import Lock, LockError

KINDS = [*EntityKind, ledger.EVENTS]
LOADING = "loading"
DONE, FAILED = KEPT = ("done", "failed")
# A file that changed less than this long ago may still be written to.
SETTLED_SECONDS = 5
# Of a file name, in bytes, on common file systems.
LONGEST_NAME = 255
# In bytes. A longer suffix is not one that says how to read a file.
LONGEST_SUFFIX = 16


class DropError(WarehouseError):
    """The drop folder is not safe to use; the message says why and how to fix it."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """The result of one dropped file; ``error`` is set if it was quarantined."""

    kind: str
    name: str
    counts: Counts
    error: str | None = None


def create(drop: Path) -> None:
    """Create the folders for dropped files that do not exist yet."""
    for kind in KINDS:
        private_files.make_folder(drop / kind)


def waiting_files(drop: Path) -> list[tuple[str, Path]]:
    """Return the settled files as (kind, file): entities before events, sorted by name.

    Within a kind, files whose load was interrupted come first.
    """
    return [
        (str(kind), path)
        for kind in KINDS
        for folder in (drop / LOADING / kind, drop / kind)
        for path in sorted(folder.glob("*"))
        if _is_settled(path) and not path.name.startswith(".")
    ]


def _is_settled(path: Path) -> bool:
    """Return whether a path is not a folder and not changed lately; future times count as old."""
    try:
        status = path.lstat()
    except OSError:
        return False
    is_folder = stat.S_ISDIR(status.st_mode)
    return not is_folder and abs(time.time() - status.st_mtime) >= SETTLED_SECONDS


def load_dropped(drop: Path) -> Iterator[Dropped]:
    """Load the settled files one by one and move them away; only one process does so at a time.

    A file that can't be loaded is quarantined. If the database fails, the file stays for the next
    run, and loader.LoadError, locks.LockError, psycopg.Error or database.DatabaseError is raised.
    Raises DropError if another user may have created the folders that files are moved to.
    """
    create(drop)
    for kind in KINDS:
        _refuse_untrusted_folder(drop / kind, links_of_ours=True)
    for folder in (LOADING, *KEPT):
        _refuse_untrusted_folder(drop / folder)
        private_files.make_private(drop / folder)
        for kind in KINDS:
            _refuse_untrusted_folder(drop / folder / kind)
    with (
        locks.held(Lock.DROP_FOLDER),
        database.connect(autocommit=True, application_name="warehouse drop folder") as connection,
        Workers() as workers,
    ):
        for kind, waiting in waiting_files(drop):
            # It may have changed while the files before it were loaded.
            if not _is_settled(waiting):
                continue
            path, name, loading = waiting, waiting.name, drop / LOADING / kind
            try:
                if waiting.parent == loading:
                    name = name.partition("-")[2]
                else:
                    path = _move(waiting, loading, _unique_name(name))
                counts, is_complete = _load_once(connection, kind, path, workers)
            except (psycopg.Error, LoadError, LockError, database.DatabaseError):
                raise
            except Exception as error:
                reason = _quarantine(path, drop / FAILED / kind, name, _failure_reason(error))
                yield Dropped(kind, printable(name), Counts(), reason)
            else:
                error = None
                if is_complete and 0 < counts.received == counts.rejected:
                    error = _quarantine(path, drop / FAILED / kind, name, _all_rejected(counts))
                elif is_complete:
                    _archive(path, drop / DONE / kind, name)
                yield Dropped(kind, printable(name), counts, error)


def _load_once(
    connection: psycopg.Connection, kind: str, path: Path, workers: Workers
) -> tuple[Counts, bool]:
    """Load a file; return its counts, and whether it was loaded completely."""
    source = open_source(str(path), opener=open_own)
    finished = ledger.finished_load(connection, kind, source.name)
    if kind == ledger.EVENTS:
        if finished:
            # Killed between the end of the load and the move: resume it to load only new lines.
            ledger.end_load(connection, finished, "failed", "the file was not moved away")
        counts = load(source, workers=workers).counts
    else:
        # Loading entities again changes nothing.
        counts = load_entities(EntityKind(kind), source)
    is_complete = path.lstat().st_size == source.position()
    if not is_complete and (finished := ledger.finished_load(connection, kind, source.name)):
        # The last line may be incomplete, so the whole file is read again; the rest is duplicates.
        ledger.end_load(connection, finished, "abandoned", "the file grew while it was loaded")
    return counts, is_complete


def _failure_reason(error: Exception) -> str:
    """Return the message why a file can't be loaded, without any of its content."""
    if isinstance(error, WarehouseError):
        return str(error)
    why = isinstance(error, OSError) and error.strerror
    return f"It can't be loaded: {why or type(error).__name__}. Run `warehouse load` for details."


def _all_rejected(counts: Counts) -> str:
    what = (
        "Its only line was" if counts.rejected == 1 else f"All its {counts.rejected:,} lines were"
    )
    return f"{what} rejected: `warehouse rejected list` says why."


def _quarantine(path: Path, directory: Path, name: str, reason: str) -> str:
    """Move a file that can't be loaded to ``directory`` and write the reason beside it.

    Returns the reason. If the file can't be moved, it stays and the reason says so, so that other
    files are loaded nevertheless.
    """
    try:
        failed = _archive(path, directory, name)
    except OSError as error:
        return f"{reason} It can't be moved to {FAILED}/ either: {error.strerror}."
    # Never into an existing file of that name, which may be a link that a producer has dropped.
    beside = _unused(_with_suffix(failed, ".reason.txt"))
    with beside.open("x", encoding="utf-8") as file:
        file.write(f"{reason}\n")
    private_files.restrict_to_owner(beside)
    return reason


def _move(path: Path, directory: Path, name: str) -> Path:
    """Move a file into a private folder; number its name if it is taken there."""
    private_files.make_folder(directory)
    moved = path.rename(_unused(directory / name))
    # After the move, so that nobody can replace the file any more.
    private_files.restrict_to_owner(moved)
    return moved


def _unused(path: Path) -> Path:
    """Return a path, numbered if it is taken, even by a broken link."""
    unused, number = path, 1
    while os.path.lexists(unused):
        number += 1
        unused = _with_suffix(path, f".{number}")
    return unused


def _unique_name(name: str) -> str:
    """Return a unique name with the file's suffix, which says how to read it."""
    given, first = os.fsencode(name), f"{uuid.uuid4().hex}-"
    suffix = os.fsencode(Path(name).suffix)[-LONGEST_SUFFIX:]
    room = LONGEST_NAME - len(first) - len(suffix)
    return first + os.fsdecode(given[: len(given) - len(suffix)][:room] + suffix)


def _refuse_untrusted_folder(folder: Path, *, links_of_ours: bool = False) -> None:
    """Raise DropError if a folder that files are moved from or to is a link or another user's.

    Producers who may write to the drop folder itself could have created it.
    """
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return
    is_of_ours = status.st_uid in {0, os.geteuid()}
    is_link = stat.S_ISLNK(status.st_mode)
    if (is_link and not (links_of_ours and is_of_ours)) or (not links_of_ours and not is_of_ours):
        raise DropError(
            f"{printable(folder)} is a link or belongs to another user, who could redirect the "
            "warehouse's files: remove it, and let nobody else write to the drop folder itself."
        )


def _archive(path: Path, directory: Path, name: str) -> Path:
    """Move a processed file into a folder where it stays until it expires."""
    if private_files.is_ours(path.lstat()):
        # Its age for the expiry counts from now.
        os.utime(path, follow_symlinks=False)
    return _move(path, directory, name)


def expire_files(drop: Path, days: int, dry_run: bool) -> int:
    """Delete the files that were loaded or quarantined more than ``days`` ago; return how many.

    With ``dry_run`` they are only counted.
    """
    oldest = time.time() - days * 24 * 60 * 60
    old = [
        path
        for folder in KEPT
        for path in (drop / folder).rglob("*")
        if not stat.S_ISDIR((status := path.lstat()).st_mode) and _moved_at(status) < oldest
    ]
    if not dry_run:
        for path in old:
            path.unlink(missing_ok=True)
    return len(old)


def _moved_at(status: os.stat_result) -> float:
    """Return when a file was moved here: `_archive` can't set the mtime of others' files."""
    return status.st_mtime if private_files.is_ours(status) else status.st_ctime


def _with_suffix(path: Path, suffix: str) -> Path:
    """Return a path with a suffix added; the name before it is truncated to a valid length."""
    name = os.fsencode(path.name)[: LONGEST_NAME - len(suffix)]
    return path.with_name(os.fsdecode(name) + suffix)
