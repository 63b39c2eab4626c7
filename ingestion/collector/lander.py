"""The lander: a process that lands the closed segments of a spool, oldest first, one by one.

It also brings the home's copy of the keys up to date and says how it is doing, for the workers have
no connection to the database. Several may run on one spool.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psycopg

from ingestion.collector.landing import adopt, land_segment
from ingestion.collector.room import Room
from ingestion.collector.segments import CLOSED, OPEN, SegmentFile, segments
from ingestion.load import ledger
from ingestion.load.ledger import COLLECTOR
from ingestion.load.loader import Receipts
from warehouse import database, key_store, private_files
from warehouse.errors import WarehouseError
from warehouse.settings import settings

POLL_SECONDS = 0.5
KEYS_SECONDS = 3
RECOUNT_SECONDS = 5
# A segment that could not be landed is tried again after this long, and others meanwhile.
RETRY_SECONDS = 10
LONGEST_PAUSE = 5
STATE_FILE = ".lander"
UNKNOWN = "unknown"
NICENESS = 5
# An unfinished file of this age was left by a killed process.
LEFT_SECONDS = 60
# How long it still lands when it is stopped; the rest is left for the next start.
LAST_SECONDS = 8


class LanderState(msgspec.Struct):
    """What the lander last said of itself: whether it reaches the database, and when it said so."""

    database: str
    at: float


def write_state(folder: Path, database_state: str) -> None:
    """Write whether the database is reached."""
    content = msgspec.json.encode(LanderState(database_state, time.time()))
    private_files.replace(folder / STATE_FILE, content)


def read_state(folder: Path) -> str:
    """Return the state of the database: `up`, `away`, or `unknown` without a running lander."""
    with suppress(OSError, msgspec.MsgspecError):
        state = msgspec.json.decode((folder / STATE_FILE).read_bytes(), type=LanderState)
        if abs(time.time() - state.at) < 3 * LONGEST_PAUSE:
            return state.database
    return UNKNOWN


class Lander:
    """Lands the segments of one spool until it is stopped."""

    def __init__(self, folder: Path, stopping: threading.Event) -> None:
        self._folder = folder
        self._stopping = stopping
        self._room = Room(folder, settings().spool_limit_bytes)
        # When to try again those that could not be landed.
        self._retry_at: dict[str, float] = {}
        self._last_problem = ""
        # Since when nothing has landed because the database failed, and why.
        self._outage: tuple[datetime, str] | None = None
        self._adopted = self._recounted = self._keys_copied = -float("inf")

    def run(self) -> None:
        """Land until stopped, and then once more what is closed; the database may come and go."""
        pause = POLL_SECONDS
        while True:
            is_last = self._stopping.is_set()
            try:
                with ExitStack() as stack:
                    control, data = (
                        stack.enter_context(
                            database.connect(
                                autocommit=True, application_name="warehouse collector"
                            )
                        )
                        for _ in range(2)
                    )
                    pause = POLL_SECONDS
                    self._note_outage(control)
                    self._land_all(control, data)
                    return
            except (psycopg.Error, WarehouseError) as error:
                why = self._report(error)
                self._outage = self._outage or (datetime.now(UTC), why)
            if is_last or self._stopping.is_set():
                return
            self._stopping.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _land_all(self, control: psycopg.Connection, data: psycopg.Connection) -> None:
        """Land until stopped. Raises psycopg.Error or WarehouseError if the database fails."""
        receipts = Receipts(control)
        while True:
            is_last = self._stopping.is_set()
            deadline = time.monotonic() + LAST_SECONDS
            self._keep_house(control)
            landed = False
            for segment in segments(self._folder, CLOSED):
                if self._retry_at.get(segment.path.name, 0) > time.monotonic():
                    continue
                landed |= self._land(segment, control, data, receipts)
                is_late = is_last and time.monotonic() > deadline
                if is_late or self._stopping.is_set() != is_last:
                    break
                self._keep_house(control)
            if is_last:
                return
            if not landed:
                self._stopping.wait(POLL_SECONDS)

    def _land(
        self,
        segment: SegmentFile,
        control: psycopg.Connection,
        data: psycopg.Connection,
        receipts: Receipts,
    ) -> bool:
        name = segment.path.name
        try:
            is_gone = land_segment(segment, control, data, receipts, self._room)
        except Exception as error:
            if control.closed or data.closed or control.broken or data.broken:
                raise
            # One segment never stops the others. It stays, and its age shows.
            self._report(error)
            self._retry_at[name] = time.monotonic() + RETRY_SECONDS
            return False
        self._retry_at.pop(name, None)
        return is_gone

    def _keep_house(self, control: psycopg.Connection) -> None:
        """Adopt what killed workers left, and every few seconds the rest."""
        now = time.monotonic()
        if now - self._adopted >= POLL_SECONDS:
            self._adopted = now
            for segment in segments(self._folder, OPEN):
                with suppress(OSError):
                    adopt(segment, self._room)
        if now - self._recounted >= RECOUNT_SECONDS:
            self._recounted = now
            self._room.recount()
            _remove_left(self._folder)
        if now - self._keys_copied >= KEYS_SECONDS:
            self._keys_copied = now
            key_store.write_copy(control, settings().home)
            with suppress(OSError):
                write_state(self._folder, "up")
            self._last_problem = ""

    def _note_outage(self, control: psycopg.Connection) -> None:
        """Record in the ledger that the database was away, which it could not know then."""
        if self._outage:
            since, why = self._outage
            ledger.note_failure(control, COLLECTOR, f"Events waited in the spool: {why}", since)
            self._outage = None

    def _report(self, error: Exception) -> str:
        """Say on standard error what is wrong, once until something else is; return it."""
        why = database.reason(error) if isinstance(error, psycopg.Error) else str(error)
        why = " ".join(why.split()) or type(error).__name__
        if why != self._last_problem:
            print(f"Events wait in the spool: {why}", file=sys.stderr, flush=True)
            self._last_problem = why
        with suppress(OSError):
            write_state(self._folder, "away")
        return why


def _remove_left(folder: Path) -> None:
    """Remove segments that were not yet locked and named when their process was killed."""
    for path in folder.glob(".2*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > LEFT_SECONDS:
                path.unlink()


def main() -> None:
    """Land until SIGTERM, or until standard input ends as its parent does."""
    # Who waits for an answer comes first.
    os.nice(NICENESS)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def end_with_parent() -> None:
        while os.read(0, 1):
            pass
        stopping.set()

    threading.Thread(target=end_with_parent, daemon=True).start()
    Lander(settings().spool_folder, stopping).run()


if __name__ == "__main__":
    main()
