"""Loads event files: reads, judges and lands chunk by chunk, and takes up what was broken off."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import chain

import psycopg

from ingestion.load import ledger
from ingestion.load.chunks import Place, cut
from ingestion.load.intake import Intake, JudgedChunk, Receipt, judge_chunk
from ingestion.load.ledger import Counts, LastBatch
from ingestion.privacy import visitors
from ingestion.sources.files import Source, SourceError, drop
from warehouse import database
from warehouse.errors import WarehouseError

HEAD_BYTES = 64 << 10
# The thread that feeds the server wakes after every socket buffer, and waits so long each time for
# the judging thread: at Python's default of 5 ms the server would have nothing to do mostly.
SWITCH_SECONDS = 0.00001


class LoadError(WarehouseError):
    """The load broke off; the message says why, what is kept and how to go on."""


@dataclass(frozen=True, slots=True)
class LoadResult:
    """How a load ended: its counts (those of an earlier, broken off run included)."""

    source: str
    load_id: int
    counts: Counts
    resumed_at_line: int | None


class Salts:
    """The salts of visitor hashes, read once a day."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        self._salts: dict[date, bytes] = {}

    def of(self, day: date) -> bytes:
        """Return the salt of a day of receipt."""
        if day not in self._salts:
            self._salts = {day: visitors.salt_of(self._connection, day)}
        return self._salts[day]


def load(source: Source, progress: Callable[[int, Counts], None] | None = None) -> LoadResult:
    """Load a source of event lines.

    ``progress`` is called after each chunk with the bytes of the file read and the counts so far.
    Raises LoadError, SourceError or database.DatabaseError; what was committed until then stays,
    and the next load of the same source goes on after it.
    """
    with (
        database.connect(autocommit=True, application_name="warehouse load") as control,
        database.connect(autocommit=True, application_name="warehouse load") as data,
        _thread_switches_every(SWITCH_SECONDS),
    ):
        head, blocks = _head(source)
        load_of = (ledger.EVENTS, source.name, hashlib.sha256(head).digest())
        last = None
        if load_id := ledger.take_up_load(control, *load_of):
            last = ledger.last_batch(control, load_id)
            if last and (blocks := _after(source, blocks, last, control, load_id)) is None:
                load_id, last, blocks = None, None, source.blocks(0)
        if load_id is None:
            load_id = ledger.start_load(control, *load_of)
        try:
            place = last.end if last else Place()
            done = ledger.counts_of(control, load_id)
            intake = Intake(data, load_id, source.name)
            for counts in _land_all(blocks, place, intake, control):
                done += counts
                if progress:
                    progress(source.position(), done)
            ledger.end_load(control, load_id, "finished")
        except BaseException as error:
            # Where the server is gone the load stays `running` without a loader: as good as failed.
            with suppress(psycopg.Error):
                ledger.end_load(control, load_id, "failed", reason(error))
            if isinstance(error, psycopg.Error):
                # Not `from error`: whoever shows causes, as Dagster does, would show its details.
                raise LoadError(_broken_off(source, error)) from None
            raise
    return LoadResult(source.name, load_id, done, place.lines + 1 if last else None)


def _land_all(
    blocks: Iterator[bytes], place: Place, intake: Intake, control: psycopg.Connection
) -> Iterator[Counts]:
    """Judge one chunk while the server works on the one before; yield what became of each."""
    salts = Salts(control)
    with ThreadPoolExecutor(1, thread_name_prefix="intake") as landing:
        before: Future[Counts] | None = None
        for chunk in cut(blocks, place):
            received_at = datetime.now(UTC)
            receipt = Receipt(
                received_at,
                salts.of(received_at.date()),
                ledger.next_batch_id(control),
                intake.erased,
            )
            judged: JudgedChunk = judge_chunk(chunk, receipt)
            if before:
                yield before.result()
            before = landing.submit(intake.land, judged)
        if before:
            yield before.result()


def _head(source: Source) -> tuple[bytes, Iterator[bytes]]:
    """Read the first bytes of a source; return them, and all its blocks."""
    blocks = source.blocks(0)
    head = b""
    for block in blocks:
        head += block
        if len(head) >= HEAD_BYTES:
            break
    return head[:HEAD_BYTES], chain([head], blocks)


def _after(
    source: Source,
    blocks: Iterator[bytes],
    last: LastBatch,
    control: psycopg.Connection,
    load_id: int,
) -> Iterator[bytes] | None:
    """Return what follows a load's last batch, or None where the source is another by now."""
    start = last.start.bytes
    blocks = drop(blocks, start) if source.reads_once else source.blocks(start)
    digest = hashlib.sha256()
    missing = last.end.bytes - start
    for block in blocks:
        digest.update(block[:missing])
        rest, missing = block[missing:], max(0, missing - len(block))
        if missing == 0:
            if digest.digest() == last.digest:
                return chain([rest] if rest else [], blocks)
            break
    ledger.end_load(control, load_id, "abandoned", "the source holds something else now")
    if source.reads_once:
        raise SourceError(
            "The input starts like a load that was broken off, but goes on differently. That load "
            "is given up; send the input again, and it is loaded from its start."
        )
    return None


@contextmanager
def _thread_switches_every(seconds: float) -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(seconds)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def reason(error: BaseException) -> str:
    """Return in a line why a load broke off, for the ledger."""
    if isinstance(error, psycopg.Error):
        return database.reason(error)
    return str(error) or type(error).__name__


def _broken_off(source: Source, error: psycopg.Error) -> str:
    return (
        f"The load of {source.name} broke off: {database.reason(error)}. Committed chunks stay, "
        "nothing is half done; mend that and run the same command again: it goes on where it stood."
    )
