"""Loads event files: reads, validates and lands chunk by chunk, and resumes interrupted loads."""

from __future__ import annotations

import hashlib
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from itertools import chain
from typing import TypeVar

import psycopg

from ingestion.contract.validator import Receipt
from ingestion.load import ledger
from ingestion.load.chunks import CHUNK_BYTES, Offset, RawChunk, cut
from ingestion.load.intake import Intake
from ingestion.load.ledger import Counts, LastBatch
from ingestion.load.unknown_members import UnknownMember, unknown_members_of
from ingestion.load.validation import ValidatedChunk, validate_raw
from ingestion.load.workers import CHUNKS_HERE, WorkerEndedError, Workers
from ingestion.privacy import visitors
from ingestion.privacy.suppression import Erased
from ingestion.sources.files import Source, SourceError, drop
from warehouse import database
from warehouse.errors import WarehouseError
from warehouse.settings import settings

HEAD_BYTES = 64 << 10
# Is run in the transaction that lands the last chunk of a source, or in one of its own if the
# source has none; not if the load is interrupted.
AtEnd = Callable[[psycopg.Connection], object]
T = TypeVar("T")
# The landing thread wakes after every socket buffer, and each time waits up to this long for the
# validating thread. With Python's default of 5 ms the server would be idle most of the time.
SWITCH_SECONDS = 0.00001


class LoadError(WarehouseError):
    """The load was interrupted; the message says why, what is kept and how to resume."""


@dataclass(frozen=True, slots=True)
class LoadResult:
    """The result of a load; the counts include those of an interrupted earlier run."""

    source: str
    load_id: int
    counts: Counts
    resumed_at_line: int | None
    unknown_members: list[UnknownMember]


class Receipts:
    """Gives chunks their receipts; each day's salt is read once."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        self._salts: dict[date, bytes] = {}

    def next(self, erased: Erased | None, received_at: datetime | None = None) -> Receipt:
        """Return the receipt of a chunk that has just come, or that came at ``received_at``."""
        received_at = received_at or datetime.now(UTC)
        day = received_at.date()
        if day not in self._salts:
            # In a transaction, for nobody destroys an old day's salt between its parts.
            with self._connection.transaction():
                self._salts = {day: visitors.salt_of(self._connection, day)}
        return Receipt(
            received_at,
            self._salts[day],
            ledger.next_batch_id(self._connection),
            erased,
            settings().earliest_event,
            settings().country_database,
        )


def load(
    source: Source,
    progress: Callable[[int, Counts], None] | None = None,
    workers: Workers | None = None,
    at_end: AtEnd | None = None,
) -> LoadResult:
    """Load a source of event lines.

    ``progress`` is called after each chunk with the position in the file and the counts of what
    was read; first with counts of 0 where a load resumes.
    ``workers`` validate, by default as many as the machine has the cores for. ``at_end`` is run in
    the transaction of the last chunk. Raises LoadError,
    SourceError or database.DatabaseError. Committed chunks stay, and the next load of the same
    source resumes after them.
    """
    with (
        nullcontext(workers) if workers else Workers() as pool,
        database.connect(autocommit=True, application_name="warehouse load") as control,
        database.connect(autocommit=True, application_name="warehouse load") as data,
        _thread_switches_every(SWITCH_SECONDS),
    ):
        if (source.size or 0) > CHUNKS_HERE * CHUNK_BYTES:
            # It will need them, so they start while it begins.
            pool.start()
        head, blocks = _head(source) if source.resumes else (b"", source.blocks(0))
        load_key = (ledger.EVENTS, source.name, hashlib.sha256(head).digest())
        last = None
        load_id = ledger.resume_load(control, *load_key) if source.resumes else None
        if load_id:
            last = ledger.last_batch(control, load_id)
            if last and (blocks := _blocks_after(source, blocks, last, control, load_id)) is None:
                load_id, last, blocks = None, None, source.blocks(0)
        if load_id is None:
            load_id = ledger.start_load(control, *load_key)
        try:
            offset = last.end if last else Offset()
            done, read = ledger.counts_of(control, load_id), Counts()
            if progress and last:
                progress(source.position(), read)
            intake = Intake(data, load_id, source.name)
            chunks = marked(cut(blocks, offset), at_end)
            with closing(
                _land_all(source, chunks, Receipts(control), intake, pool, at_end)
            ) as landed:
                for position, counts in landed:
                    done += counts
                    read += counts
                    if progress:
                        progress(position, read)
            ledger.end_load(control, load_id, "finished")
            unknown = unknown_members_of(control, load_id)
        except BaseException as error:
            # If the server is gone the load stays `running` without a loader and can be resumed.
            with suppress(psycopg.Error):
                state = "failed" if source.resumes else "abandoned"
                ledger.end_load(control, load_id, state, reason(error))
            if isinstance(error, psycopg.Error | WorkerEndedError):
                # Not `from error`: Dagster would show the cause, whose details quote rows.
                raise LoadError(_interrupted_message(source, error)) from None
            raise
    return LoadResult(source.name, load_id, done, offset.lines + 1 if last else None, unknown)


def _land_all(
    source: Source,
    chunks: Iterator[tuple[RawChunk, bool]],
    receipts: Receipts,
    intake: Intake,
    workers: Workers,
    at_end: AtEnd | None,
) -> Iterator[tuple[int, Counts]]:
    """Land the chunks in order, while others are read and validated.

    The last one is marked if there is something to do ``at_end``.

    Yields the counts of each, and how far its file was read for it. What comes before an error,
    such as damage in the file, is landed before it is raised.
    """
    failure: Exception | None = None
    under_way: deque[tuple[int, Future[Counts]]] = deque()
    before: Future[Counts] | None = None
    with ExitStack() as stack:
        landing = ThreadPoolExecutor(1, thread_name_prefix="intake")
        # At an error: a chunk that waits for the one that is being landed is not begun.
        stack.callback(landing.shutdown, cancel_futures=True)
        try:
            ended = False
            for raw, ended in chunks:
                receipt = receipts.next(intake.erased)
                validated = workers.submit(raw, receipt)
                then = at_end if ended else None
                before = landing.submit(_land, intake, before, raw, receipt, validated, then)
                under_way.append((source.position(), before))
                while len(under_way) > workers.count + 1:
                    position, counts = under_way.popleft()
                    yield position, counts.result()
            if at_end and not ended:
                landing.submit(run_alone, at_end, intake.connection).result()
        except Exception as error:
            failure = error
        for position, counts in under_way:
            yield position, counts.result()
        if failure:
            raise failure


def _land(
    intake: Intake,
    before: Future[Counts] | None,
    raw: RawChunk,
    receipt: Receipt,
    validated: Future[ValidatedChunk],
    then: AtEnd | None,
) -> Counts:
    if before:
        # If that failed, so does this: a load is resumed after its last chunk, and would skip it.
        before.result()
    return intake.land(validated.result(), receipt, partial(validate_raw, raw), then)


def marked(parts: Iterator[T], at_end: AtEnd | None) -> Iterator[tuple[T, bool]]:
    """Yield each part of a source, and whether it is the last and there is something to do then.

    Only then a part waits for the next one. What comes before an error is yielded before it is
    raised.
    """
    if at_end is None:
        yield from ((part, False) for part in parts)
        return
    waiting: list[T] = []
    try:
        for part in parts:
            if waiting:
                yield waiting.pop(), False
            waiting.append(part)
    except Exception:
        yield from ((part, False) for part in waiting)
        raise
    yield from ((part, True) for part in waiting)


def run_alone(at_end: AtEnd, connection: psycopg.Connection) -> None:
    """Run what is to be done at the end of a source without parts."""
    with connection.transaction():
        at_end(connection)


def _head(source: Source) -> tuple[bytes, Iterator[bytes]]:
    """Return the first HEAD_BYTES of a source, and all its blocks."""
    blocks = source.blocks(0)
    head = b""
    for block in blocks:
        head += block
        if len(head) >= HEAD_BYTES:
            break
    return head[:HEAD_BYTES], chain([head], blocks)


def _blocks_after(
    source: Source,
    blocks: Iterator[bytes],
    last: LastBatch,
    control: psycopg.Connection,
    load_id: int,
) -> Iterator[bytes] | None:
    """Return the blocks after a load's last batch, or None if the source's content has changed."""
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
    ledger.end_load(control, load_id, "abandoned", "the content of the source has changed")
    if source.reads_once:
        raise SourceError(
            "The input starts like that of an interrupted load, but continues differently. That "
            "load is abandoned: send the input again to load it from its start."
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
    """Return in one line why a load was interrupted, for the ledger."""
    if isinstance(error, psycopg.Error):
        return database.reason(error)
    return str(error) or type(error).__name__


def _interrupted_message(source: Source, error: psycopg.Error | WorkerEndedError) -> str:
    return (
        f"The load of {source.name} was interrupted: {reason(error)}. Committed chunks "
        "stay, nothing is half done. Fix that and run the same command again to resume the load."
    )
