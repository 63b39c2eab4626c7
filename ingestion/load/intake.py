"""Lands one chunk of event lines in one transaction: all of it or nothing."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from uuid import UUID

import psycopg

from ingestion.contract.line import may_hold_unbounded_number
from ingestion.contract.validator import (
    COPY_COLUMNS,
    EPOCH,
    UNKNOWN_EVENT,
    Accepted,
    Judge,
    Reason,
    Rejected,
    Sequence,
    Suppressed,
    Verdict,
)
from ingestion.load import ledger
from ingestion.load.chunks import Chunk, cut_detail
from ingestion.load.ledger import Batch, Counts
from ingestion.privacy.suppression import Erased, hold_off_erasures, read_erased

_COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)
_COPY_TRAILER = struct.pack("!h", -1)
_COPY_EVENTS = (
    "copy staging.raw_events ("
    + ", ".join(f'"{name}"' for name in COPY_COLUMNS)
    + ") from stdin (format binary)"
)
_key_head = struct.Struct("!hi16siqi").pack
_key_tail = struct.Struct("!iq").pack
_DAY = 86_400_000_000
# Another loader may commit the same events, or wait for this one in a circle: each time this one
# starts the chunk again, and each time it finds more of it landed.
MOST_TRIES = 20
# In characters; names and timestamps that are quoted may be as long as their line.
LONGEST_DETAIL = 500


@dataclass(frozen=True, slots=True)
class Receipt:
    """The circumstances of a chunk's receipt: when, the salt of that day, the rows' batch id.

    ``erased`` are those who were erased by then; None where nobody was.
    """

    at: datetime
    salt: bytes
    batch_id: int
    erased: Erased | None = None


@dataclass(frozen=True, slots=True)
class JudgedChunk:
    """A chunk's verdicts. ``accepted`` is sorted by key and free of repeats within the chunk."""

    chunk: Chunk
    receipt: Receipt
    accepted: list[Accepted]
    duplicates: int
    rejected: list[tuple[int, bytes, Rejected]]
    suppressed: Counter[tuple[str, date]]
    suppressed_erased: int
    used: list[Sequence]


def judge_chunk(chunk: Chunk, receipt: Receipt) -> JudgedChunk:
    """Judge every line of a chunk."""
    judge = Judge(
        receipt.at,
        receipt.salt,
        receipt.batch_id,
        receipt.erased,
        numbers_are_bounded=not may_hold_unbounded_number(
            b"\n".join([line for _, line in chunk.lines])
        ),
    ).judge
    accepted: list[Accepted] = []
    rejected: list[tuple[int, bytes, Rejected]] = []
    suppressed: Counter[tuple[str, date]] = Counter()
    suppressed_erased = 0
    used: list[Sequence] = []
    erased, lengths = receipt.erased, chunk.cut_lengths
    for number, line in chunk.lines:
        # What is kept of a line that is too large may read like a whole one.
        length = lengths.get(number)
        verdict = judge(line) if length is None else _too_large(length, len(line))
        if type(verdict) is Accepted:
            accepted.append(verdict)
            continue
        if erased and type(verdict) is Rejected and erased.is_in_refused(line, verdict.reason):
            verdict = Suppressed(UNKNOWN_EVENT, receipt.at.date(), verdict.sequence, True)
        if verdict.sequence:
            used.append(verdict.sequence)
        if isinstance(verdict, Suppressed):
            suppressed[verdict.event, verdict.day] += 1
            suppressed_erased += verdict.is_erased
        else:
            rejected.append((number, line, verdict))
    first, repeats = _first_of_each(accepted)
    used += [event.sequence for event in repeats if event.sequence]
    return JudgedChunk(
        chunk, receipt, first, len(repeats), rejected, suppressed, suppressed_erased, used
    )


def _too_large(length: int, kept: int) -> Verdict:
    return Rejected(Reason.TOO_LARGE, cut_detail(length, kept))


def _first_of_each(accepted: list[Accepted]) -> tuple[list[Accepted], list[Accepted]]:
    """Split into the first event of each key, sorted by key, and the repeats.

    Every loader writes in the order of the keys: so two can't wait for each other, and the index is
    written a page at a time.
    """
    first: dict[bytes, Accepted] = {}
    repeats = [event for event in accepted if first.setdefault(event.key, event) is not event]
    return [first[key] for key in sorted(first)], repeats


class _ErasedSinceError(Exception):
    """Somebody was erased since the chunk was judged."""


class Intake:
    """Lands judged chunks of one load over one connection, which must be in autocommit."""

    def __init__(self, connection: psycopg.Connection, load_id: int, source: str) -> None:
        self._connection = connection
        self._load_id = load_id
        self._source = source
        self._months: set[date] = set()
        # New events mostly are new: they are copied straight in. Once a chunk has met events that
        # landed before, the next ones ask first, until one meets none.
        self._expects_duplicates = False
        # Those who were erased when the last chunk was landed.
        self.erased = read_erased(connection)
        # As of the transaction that is under way: retention waits for it.
        self._dropped_months: set[date] = set()

    def land(
        self, judged: JudgedChunk, with_it: Callable[[psycopg.Connection], object] | None = None
    ) -> Counts:
        """Commit one chunk; returns what became of its lines.

        ``with_it`` is run in the same transaction. Raises psycopg.Error with nothing written.
        """
        for _ in range(MOST_TRIES):
            self._add_partitions(judged)
            try:
                with self._connection.transaction():
                    ledger.hold_load(self._connection, self._load_id)
                    newest = hold_off_erasures(self._connection)
                    if newest != (judged.receipt.erased.newest if judged.receipt.erased else 0):
                        raise _ErasedSinceError
                    self._dropped_months = _dropped_months(self._connection)
                    counts = self._write(judged)
                    if with_it:
                        with_it(self._connection)
                    return counts
            except _ErasedSinceError:
                self.erased = read_erased(self._connection)
                receipt = replace(judged.receipt, erased=self.erased)
                judged = judge_chunk(judged.chunk, receipt)
            except psycopg.errors.UniqueViolation:
                self._expects_duplicates = True
            except psycopg.errors.CheckViolation as error:
                if error.diag.constraint_name:
                    raise
                # No partition: retention has dropped one that was there before.
                self._months.clear()
            except (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure):
                continue
        raise psycopg.OperationalError(f"a chunk met other loaders {MOST_TRIES} times in a row")

    def _write(self, judged: JudgedChunk) -> Counts:
        new, used, duplicates = judged.accepted, judged.used, judged.duplicates
        landed = self._landed_and_dropped(new)
        if self._expects_duplicates:
            landed |= self._landed_before(new)
            self._expects_duplicates = bool(landed)
        if landed:
            used = used + [new[i].sequence for i in sorted(landed) if new[i].sequence]
            new = [event for i, event in enumerate(new) if i not in landed]
            duplicates += len(landed)
        self._copy(_COPY_EVENTS, (event.row for event in new))
        counts = Counts(
            len(judged.chunk.lines), len(new), duplicates,
            judged.suppressed.total(), len(judged.rejected), judged.suppressed_erased,
        )  # fmt: skip
        instants = [event.microseconds for event in new]
        batch_seq = ledger.commit_batch(
            self._connection,
            Batch(
                judged.receipt.batch_id, self._load_id, ledger.EVENTS, self._source,
                judged.chunk.start, judged.chunk.end, judged.chunk.digest,
                judged.receipt.at, counts,
                _instant(min(instants)) if instants else None,
                _instant(max(instants)) if instants else None,
            ),
        )  # fmt: skip
        write_rejected(self._connection, batch_seq, judged.receipt.at, judged.rejected)
        _write_rows(
            self._connection,
            "copy staging.suppressed_events (batch_seq, event, day, suppressed) from stdin",
            [(batch_seq, event, day, n) for (event, day), n in judged.suppressed.items()],
        )
        _write_rows(
            self._connection,
            'copy staging.used_sequences (batch_seq, producer, "sequence", day) from stdin',
            [(batch_seq, *sequence) for sequence in used],
        )
        return counts

    def _landed_before(self, events: list[Accepted]) -> set[int]:
        """Return the positions of the events whose key is in the database already."""
        self._connection.execute(
            "create temporary table if not exists chunk_keys "
            "(event_id uuid, happened_at timestamptz, client_id text, position bigint) "
            "on commit delete rows"
        )
        self._copy(
            "copy pg_temp.chunk_keys (event_id, happened_at, client_id, position) "
            "from stdin (format binary)",
            (
                _key_head(4, 16, event.event_id, 8, event.microseconds, len(event.client_id))
                + event.client_id
                + _key_tail(8, position)
                for position, event in enumerate(events)
            ),
        )
        # A subquery that stands for a value is looked up key by key in the unique index of one
        # partition each: never a scan of what landed before.
        found = self._connection.execute(
            "select k.position from pg_temp.chunk_keys as k where ("
            "select true from staging.raw_events as r where r.client_id = k.client_id "
            'and r.event_id = k.event_id and r."timestamp" = k.happened_at)'
        )
        return {position for (position,) in found}

    def _landed_and_dropped(self, events: list[Accepted]) -> set[int]:
        """Return the positions of the events that landed in months that retention has dropped."""
        if not self._dropped_months:
            return set()
        old = [
            position
            for position, event in enumerate(events)
            if _month(event.microseconds) in self._dropped_months
        ]
        if not old:
            return set()
        found = self._connection.execute(
            "select staging.landed_and_dropped(%s::text[], %s::uuid[], %s::timestamptz[])",
            (
                [events[position].client_id.decode() for position in old],
                [UUID(bytes=events[position].event_id) for position in old],
                [_instant(events[position].microseconds) for position in old],
            ),
        )
        return {old[index] for (index,) in found}

    def _add_partitions(self, judged: JudgedChunk) -> None:
        days = {event.microseconds // _DAY for event in judged.accepted}
        months = {_month(day * _DAY) for day in days} - self._months
        if months:
            self._connection.execute("select staging.add_raw_partitions(%s)", (sorted(months),))
            self._months |= months

    def _copy(self, statement: str, rows: Iterable[bytes]) -> None:
        with self._connection.cursor().copy(statement) as copy:
            copy.write(b"".join((_COPY_HEADER, *rows, _COPY_TRAILER)))


def write_rejected(
    connection: psycopg.Connection,
    batch_seq: int,
    received_at: datetime,
    rejected: list[tuple[int, bytes, Rejected]],
) -> None:
    """Put refused lines, given as (line number, exact bytes, why), into the quarantine."""
    _write_rows(
        connection,
        "copy staging.rejected_events "
        "(batch_seq, line_number, reason, detail, payload, received_at) from stdin",
        [
            (batch_seq, number, why.reason.value, _printable(why.detail), line, received_at)
            for number, line, why in rejected
        ],
    )


def _write_rows(
    connection: psycopg.Connection, statement: str, rows: list[tuple[object, ...]]
) -> None:
    if not rows:
        return
    with connection.cursor().copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


def _printable(detail: str) -> str:
    """Make a detail storable: no NUL, no lone surrogates, and no longer than anyone reads."""
    if len(detail) > LONGEST_DETAIL:
        detail = detail[: LONGEST_DETAIL - 1] + "…"
    return detail.replace("\0", "\\u0000").encode("utf-8", "backslashreplace").decode()


def _dropped_months(connection: psycopg.Connection) -> set[date]:
    found = connection.execute("select month from staging.dropped_months").fetchall()
    return {month for (month,) in found}


def _month(microseconds: int) -> date:
    return _instant(microseconds).date().replace(day=1)


def _instant(microseconds: int) -> datetime:
    return EPOCH + timedelta(microseconds=microseconds)
