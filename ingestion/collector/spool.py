"""Writes validated lines to the spool: many requests share one fsync, and each waits for it.

A thread writes and syncs. What arrives meanwhile is written together afterwards, so that the number
of requests in a second is not bound to the number of syncs.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from queue import Empty, SimpleQueue

from ingestion.collector.room import Room
from ingestion.collector.segments import CLOSED, OPEN, new_name

# A segment is one batch of the ledger, with one time of receipt: that of its first line.
SEGMENT_SECONDS = 3.0
# One chunk of the loader.
SEGMENT_BYTES = 8 << 20


class SpoolError(Exception):
    """Lines could not be kept; nothing of them was. The message says why."""


class SpoolFullError(SpoolError):
    """There is no room for them."""


class Segment:
    """A segment that lines are validated for and written to."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.received_at = datetime.now(UTC)
        # Of what was appended, written or not.
        self.bytes = 0
        self.started = time.monotonic()
        # Used by the writing thread alone.
        self.file: int | None = None
        self.path: Path | None = None
        self.written = 0
        self.failed = False


# A segment, the bytes to append to it or None to close it, and who waits for that.
_Item = tuple[Segment, bytes | None, "asyncio.Future[None] | None"]


class Spool:
    """Appends to the segments of one process; all methods are for its event loop."""

    def __init__(self, folder: Path, limit_bytes: int, segment_seconds: float) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._segment_seconds = segment_seconds
        self._loop = asyncio.get_running_loop()
        self._current: dict[str, Segment] = {}
        # None ends the thread.
        self._items: SimpleQueue[_Item | None] = SimpleQueue()
        self._room: Room | None = None
        # Why the last lines could not be written, None if they were.
        self.problem: str | None = None
        self._thread = threading.Thread(target=self._write_all, name="spool")
        self._thread.start()

    def segment(self, kind: str) -> Segment:
        """Return the segment that lines are to be validated for now and then appended to."""
        current = self._current.get(kind)
        if current is None or time.monotonic() - current.started >= self._segment_seconds:
            if current:
                self._close_segment(current)
            current = self._current[kind] = Segment(kind)
            self._loop.call_later(self._segment_seconds, self._close_segment, current)
        return current

    def append(self, segment: Segment, content: bytes) -> asyncio.Future[None]:
        """Append records; the result comes when they are on disk.

        Call it in the same step of the event loop as ``segment``. The future raises SpoolError.
        """
        done = self._loop.create_future()
        self._items.put((segment, content, done))
        segment.bytes += len(content)
        if segment.bytes >= SEGMENT_BYTES:
            self._close_segment(segment)
        return done

    def _close_segment(self, segment: Segment) -> None:
        if self._current.get(segment.kind) is segment:
            del self._current[segment.kind]
            self._items.put((segment, None, None))

    def close(self) -> None:
        """Write what waits, close the segments and end the thread."""
        for segment in list(self._current.values()):
            self._close_segment(segment)
        self._items.put(None)
        self._thread.join()

    def _write_all(self) -> None:
        is_closing = False
        while not is_closing:
            items = [self._items.get()]
            with suppress(Empty):
                while True:
                    items.append(self._items.get_nowait())
            is_closing = None in items
            of_segments = groupby(filter(None, items), key=itemgetter(0))
            for segment, of_segment in of_segments:
                self._handle(segment, list(of_segment))

    def _handle(self, segment: Segment, items: list[_Item]) -> None:
        appended = [(content, done) for _, content, done in items if content is not None and done]
        errors: list[SpoolError | None] = []
        if appended:
            try:
                errors = self._append(segment, [content for content, _ in appended])
            except Exception as error:
                # Whatever it is: the thread goes on, for requests wait for it.
                reason = error.strerror if isinstance(error, OSError) else None
                why = SpoolError(f"the spool can't be written to: {reason or error}")
                errors = [why] * len(appended)
                self._abandon(segment)
                # Opened anew for the next lines: the folder may be another one by then.
                self._room = None
            self.problem = next((str(error) for error in errors if error), None)
            futures = [done for _, done in appended]
            with suppress(RuntimeError):
                # The loop is closed if the process ends without waiting.
                self._loop.call_soon_threadsafe(self._tell, segment, futures, errors)
        if len(appended) < len(items):
            self._finish(segment)

    def _tell(
        self,
        segment: Segment,
        futures: list[asyncio.Future[None]],
        errors: list[SpoolError | None],
    ) -> None:
        if segment.failed and self._current.get(segment.kind) is segment:
            del self._current[segment.kind]
        for done, error in zip(futures, errors, strict=True):
            if done.cancelled():
                continue
            if error:
                done.set_exception(error)
            else:
                done.set_result(None)

    def _append(self, segment: Segment, contents: list[bytes]) -> list[SpoolError | None]:
        """Write what there is room for, and sync. Raises OSError, with nothing written."""
        if segment.failed:
            raise OSError(0, "its last write failed")
        if self._room is None:
            self._room = Room(self._folder, self._limit_bytes)
        if segment.file is None:
            self._open(segment)
        errors: list[SpoolError | None] = []
        fitting: list[bytes] = []
        with self._room.counted() as used:
            room = self._room.limit_bytes - used[0]
            for content in contents:
                fits = len(content) <= room
                errors.append(None if fits else SpoolFullError("the spool is full"))
                if fits:
                    fitting.append(content)
                    room -= len(content)
            joined = b"".join(fitting)
            if joined:
                _write(segment.file, joined)
                used[0] += len(joined)
        if joined:
            os.fdatasync(segment.file)
            segment.written += len(joined)
        return errors

    def _open(self, segment: Segment) -> None:
        """Create the segment's file. It is locked before anybody can find it."""
        name = new_name(segment.received_at, segment.kind)
        unfinished = self._folder / f".{name}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        segment.file = os.open(unfinished, flags, 0o600)
        fcntl.flock(segment.file, fcntl.LOCK_EX)
        segment.path = self._folder / f"{name}{OPEN}"
        os.rename(unfinished, segment.path)
        _sync_folder(self._folder)

    def _finish(self, segment: Segment) -> None:
        """Close a segment, so that it is landed; without lines, remove it."""
        if segment.file is None or segment.path is None:
            return
        with suppress(OSError):
            # If it can't be renamed, it is found as one that was left.
            if segment.written:
                os.rename(segment.path, segment.path.with_suffix(CLOSED))
            else:
                os.unlink(segment.path)
        os.close(segment.file)
        segment.file = None

    def _abandon(self, segment: Segment) -> None:
        """Cut off what was not synced, and write to this segment no more."""
        segment.failed = True
        if segment.file is not None:
            with suppress(OSError):
                os.ftruncate(segment.file, segment.written)
                os.fsync(segment.file)
            self._finish(segment)


def write_segment(
    folder: Path, kind: str, received_at: datetime, content: bytes, room: Room
) -> None:
    """Write records as one closed segment. Raises SpoolFullError or OSError, with nothing kept."""
    name = new_name(received_at, kind)
    unfinished = folder / f".{name}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    file = os.open(unfinished, flags, 0o600)
    try:
        _write(file, content)
        os.fdatasync(file)
        with room.counted() as used:
            if used[0] + len(content) > room.limit_bytes:
                raise SpoolFullError("the spool is full")
            os.rename(unfinished, folder / f"{name}{CLOSED}")
            used[0] += len(content)
    except BaseException:
        with suppress(OSError):
            os.unlink(unfinished)
        raise
    finally:
        os.close(file)
    _sync_folder(folder)


def _write(file: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(file, rest) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
