"""The drop folder: files put there are loaded, each exactly once, and moved away.

``drop/events`` takes event files, ``drop/clients``, ``drop/units``, ``drop/users`` and
``drop/documents`` entity files. A file is first moved to ``loading/``, under a name of its own by
which the ledger knows it: a load that was killed goes on from there, and one that had finished is
not begun again. From there it moves to ``done/`` or, where it can't be loaded, to ``failed/`` with
the reason in a ``.reason.txt`` beside it. Names that start with a dot are left alone: write a file
under such a name and rename it when it is whole. A file under another name is taken once it has
stood still; where it grew while it was loaded, the rest is loaded when it stands still again.

Producers may not read what the warehouse may. So what is dropped is read only where nobody else
reaches it any more, in ``loading/``, and only where it is a regular file with no other name: links
and pipes go to ``failed/`` unread.

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

from ingestion.load import ledger
from ingestion.load.entities import EntityKind, load_entities
from ingestion.load.ledger import Counts
from ingestion.load.loader import LoadError, load
from ingestion.sources.files import open_own, open_source
from warehouse import database, locks, private_files
from warehouse.errors import WarehouseError, printable
from warehouse.locks import Lock, LockError

KINDS = [*EntityKind, ledger.EVENTS]
LOADING = "loading"
DONE, FAILED = KEPT = ("done", "failed")
# A file that changed less than so long ago may still be written.
STILL_SECONDS = 5
# In bytes, on common file systems.
LONGEST_NAME = 255
# What follows the last dot of a name, and more is none that says how to read a file.
LONGEST_ENDING = 16


class DropError(WarehouseError):
    """The drop folder is not safe to use; the message says why."""


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
    """Tell whether it is no folder, and nobody seems to write it; times far ahead tell nothing."""
    try:
        status = path.lstat()
    except OSError:
        return False
    is_folder = stat.S_ISDIR(status.st_mode)
    return not is_folder and abs(time.time() - status.st_mtime) >= STILL_SECONDS


def load_dropped(drop: Path) -> Iterator[Dropped]:
    """Load what waits and move it away, file by file; waits for a process that does so already.

    A file that can't be loaded is set aside; where the database fails the file stays for the next
    time: loader.LoadError, locks.LockError, psycopg.Error and database.DatabaseError are raised.
    Raises DropError where somebody else may have made the folders that files are moved to.
    """
    for kind in KINDS:
        private_files.make_folder(drop / kind)
        _refuse_folder_of_others(drop / kind, links_of_ours=True)
    for folder in (LOADING, *KEPT):
        _refuse_folder_of_others(drop / folder)
        private_files.make_private(drop / folder)
        for kind in KINDS:
            _refuse_folder_of_others(drop / folder / kind)
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
                    path = _move(waiting, loading, _own_name(name))
                counts, is_whole = _load_once(connection, kind, path)
            except (psycopg.Error, LoadError, LockError, database.DatabaseError):
                raise
            except Exception as error:
                reason = _set_aside(path, drop / FAILED / kind, name, _reason(error))
                yield Dropped(kind, printable(name), Counts(), reason)
            else:
                if is_whole:
                    _keep(path, drop / DONE / kind, name)
                yield Dropped(kind, printable(name), counts)


def _load_once(connection: psycopg.Connection, kind: str, path: Path) -> tuple[Counts, bool]:
    """Load a file; return what became of its lines, and whether these were all of it."""
    source = open_source(str(path), opener=open_own)
    finished = ledger.finished_load(connection, kind, source.name)
    if kind == ledger.EVENTS:
        if finished:
            # Killed between the load's end and the move: it finds nothing left, or what is new.
            ledger.end_load(connection, finished, "failed", "the file was not moved away")
        counts = load(source).counts
    else:
        # Once more does no harm.
        counts = load_entities(EntityKind(kind), source)
    is_whole = path.lstat().st_size == source.position()
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


def _set_aside(path: Path, directory: Path, name: str, reason: str) -> str:
    """Move a file that can't be loaded to its reason, which is returned with what else went wrong.

    One that can't be moved stays, and is no reason for others to wait.
    """
    try:
        failed = _keep(path, directory, name)
    except OSError as error:
        return f"{reason} It can't be moved away either: {error.strerror}."
    # Not into what is there by that name already, which producers may have dropped: a link, say.
    beside = _free(_beside(failed, ".reason.txt"))
    with beside.open("x", encoding="utf-8") as file:
        file.write(f"{reason}\n")
    private_files.take_from_others(beside)
    return reason


def _move(path: Path, directory: Path, name: str) -> Path:
    """Move a file into a private folder, under a numbered name where its own is taken there."""
    private_files.make_folder(directory)
    moved = path.rename(_free(directory / name))
    # Where nobody can put another one in its place any more.
    private_files.take_from_others(moved)
    return moved


def _free(path: Path) -> Path:
    """Return a path, numbered where it is taken, be it by a link that leads nowhere."""
    free, number = path, 1
    while os.path.lexists(free):
        number += 1
        free = _beside(path, f".{number}")
    return free


def _own_name(name: str) -> str:
    """Return a name that no other file has, and that ends as before, which says how to read it."""
    given, first = os.fsencode(name), f"{uuid.uuid4().hex}-"
    ending = os.fsencode(Path(name).suffix)[-LONGEST_ENDING:]
    room = LONGEST_NAME - len(first) - len(ending)
    return first + os.fsdecode(given[: len(given) - len(ending)][:room] + ending)


def _refuse_folder_of_others(folder: Path, *, links_of_ours: bool = False) -> None:
    """Raise DropError for a link, or a folder of another user, where files are moved from or to.

    Producers who may write to the drop folder itself could have put it there.
    """
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return
    is_of_ours = status.st_uid in {0, os.geteuid()}
    is_link = stat.S_ISLNK(status.st_mode)
    if (is_link and not (links_of_ours and is_of_ours)) or (not links_of_ours and not is_of_ours):
        raise DropError(
            f"{printable(folder)} is a link, or of another user, who could lead files of the "
            "warehouse elsewhere: remove it, and let nobody else write to the drop folder itself."
        )


def _keep(path: Path, directory: Path, name: str) -> Path:
    """Move a file that is done with into a folder where it stays until it expires."""
    if private_files.is_ours(path.lstat()):
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
    return status.st_mtime if private_files.is_ours(status) else status.st_ctime


def _beside(path: Path, ending: str) -> Path:
    """Return a path's name with an ending, cut where it would be too long for a file."""
    name = os.fsencode(path.name)[: LONGEST_NAME - len(ending)]
    return path.with_name(os.fsdecode(name) + ending)
