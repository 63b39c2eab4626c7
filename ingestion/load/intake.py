"""Lands each chunk of event lines in one transaction."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from uuid import UUID

import psycopg

from ingestion.contract.validator import COPY_COLUMNS, EPOCH, Receipt, Rejected
from ingestion.load import ledger, unknown_members
from ingestion.load.ledger import Batch, Counts
from ingestion.load.validation import Events, ValidatedChunk
from ingestion.privacy.erasures import block_erasures, read_erased

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
# Another loader may commit the same events or cause a deadlock. Then the chunk is landed again from
# its start; each attempt finds more of its events landed by the other loader.
MAX_ATTEMPTS = 20
# In characters. Details quote names and timestamps, which may be as long as their line.
LONGEST_DETAIL = 500


class _ErasedSinceError(Exception):
    """An erasure began after the chunk was validated."""


class Intake:
    """Lands validated chunks of one load. The connection must be in autocommit."""

    def __init__(self, connection: psycopg.Connection, load_id: int, source: str) -> None:
        self._connection = connection
        self._load_id = load_id
        self._source = source
        self._months: set[date] = set()
        # Most events are new, so they are copied without a look-up. After a chunk with duplicates,
        # the next chunks look them up first, until one has none.
        self._expects_duplicates = False
        # The subjects that were erased when the last chunk was landed.
        self.erased = read_erased(connection)
        # As of the current transaction, which blocks expiry.
        self._dropped_months: set[date] = set()

    def land(
        self,
        validated: ValidatedChunk,
        receipt: Receipt,
        validate: Callable[[Receipt], ValidatedChunk],
        in_transaction: Callable[[psycopg.Connection], object] | None = None,
    ) -> Counts:
        """Commit one chunk and return its counts.

        ``validate`` validates it again, where an erasure has begun since its receipt.
        ``in_transaction`` is run in the same transaction. Raises psycopg.Error, with nothing
        written.
        """
        for _ in range(MAX_ATTEMPTS):
            self._add_partitions(validated.accepted)
            try:
                with self._connection.transaction():
                    ledger.hold_load(self._connection, self._load_id)
                    newest = block_erasures(self._connection)
                    if newest != (receipt.erased.newest if receipt.erased else 0):
                        raise _ErasedSinceError
                    self._dropped_months = _dropped_months(self._connection)
                    counts = self._write(validated, receipt)
                    if in_transaction:
                        in_transaction(self._connection)
                    return counts
            except _ErasedSinceError:
                self.erased = read_erased(self._connection)
                receipt = replace(receipt, erased=self.erased)
                validated = validate(receipt)
            except psycopg.errors.UniqueViolation:
                self._expects_duplicates = True
            except psycopg.errors.CheckViolation as error:
                if error.diag.constraint_name:
                    raise
                # No partition for a row: expiry has dropped one that existed before.
                self._months.clear()
            except (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure):
                continue
        raise psycopg.OperationalError(
            f"a chunk conflicted with other loaders {MAX_ATTEMPTS} times in a row"
        )

    def _write(self, validated: ValidatedChunk, receipt: Receipt) -> Counts:
        new, used, duplicates = validated.accepted, validated.used, validated.duplicates
        landed = self._landed_and_dropped(new)
        if self._expects_duplicates:
            landed |= self._landed_before(new)
            self._expects_duplicates = bool(landed)
        if landed:
            used = used + new.sequences(sorted(landed))
            new = new.without(landed)
            duplicates += len(landed)
        self._copy(_COPY_EVENTS, new.rows)
        counts = Counts(
            validated.received, len(new), duplicates,
            validated.suppressed.total(), len(validated.rejected), validated.suppressed_erased,
        )  # fmt: skip
        unknown = unknown_members.rows_of(unknown_members.count_by_member(new.unknown.values()))
        instants = new.microseconds
        batch_seq = ledger.commit_batch(
            self._connection,
            Batch(
                receipt.batch_id, self._load_id, ledger.EVENTS, self._source,
                validated.start, validated.end, validated.digest, receipt.at, counts,
                _instant(min(instants)) if instants else None,
                _instant(max(instants)) if instants else None,
            ),
        )  # fmt: skip
        write_rejected(self._connection, batch_seq, receipt.at, validated.rejected)
        _write_rows(
            self._connection,
            "copy staging.suppressed_events (batch_seq, event, day, suppressed) from stdin",
            [(batch_seq, event, day, n) for (event, day), n in validated.suppressed.items()],
        )
        _write_rows(
            self._connection,
            'copy staging.used_sequences (batch_seq, producer, "sequence", day) from stdin',
            [(batch_seq, *sequence) for sequence in used],
        )
        _write_rows(
            self._connection,
            "copy staging.unknown_members (batch_seq, event, path, name, events, nearest_known) "
            "from stdin",
            [(batch_seq, *row) for row in unknown],
        )
        return counts

    def _landed_before(self, events: Events) -> set[int]:
        """Return the positions of the events whose key is stored in staging.raw_events."""
        self._connection.execute(
            "create temporary table if not exists chunk_keys "
            "(event_id uuid, happened_at timestamptz, client_id text, position bigint) "
            "on commit delete rows"
        )
        self._copy(
            "copy pg_temp.chunk_keys (event_id, happened_at, client_id, position) "
            "from stdin (format binary)",
            b"".join(_key_row(events, position) for position in range(len(events))),
        )
        # A scalar subquery makes the planner look up each key in the unique index of one partition,
        # and never scan a table.
        found = self._connection.execute(
            "select k.position from pg_temp.chunk_keys as k where ("
            "select true from staging.raw_events as r where r.client_id = k.client_id "
            'and r.event_id = k.event_id and r."timestamp" = k.happened_at)'
        )
        return {position for (position,) in found}

    def _landed_and_dropped(self, events: Events) -> set[int]:
        """Return the positions of the events that landed before in months that expired since."""
        if not self._dropped_months:
            return set()
        old = [
            position
            for position, microseconds in enumerate(events.microseconds)
            if _month(microseconds) in self._dropped_months
        ]
        if not old:
            return set()
        ids = [events.ids(position) for position in old]
        found = self._connection.execute(
            "select staging.landed_and_dropped(%s::text[], %s::uuid[], %s::timestamptz[])",
            (
                [client_id.decode() for client_id, _ in ids],
                [UUID(bytes=event_id) for _, event_id in ids],
                [_instant(events.microseconds[position]) for position in old],
            ),
        )
        return {old[index] for (index,) in found}

    def _add_partitions(self, events: Events) -> None:
        days = {microseconds // _DAY for microseconds in events.microseconds}
        months = {_month(day * _DAY) for day in days} - self._months
        if months:
            self._connection.execute("select staging.add_raw_partitions(%s)", (sorted(months),))
            self._months |= months

    def _copy(self, statement: str, rows: bytes) -> None:
        with self._connection.cursor().copy(statement) as copy:
            for part in (_COPY_HEADER, rows, _COPY_TRAILER):
                copy.write(part)


def _key_row(events: Events, position: int) -> bytes:
    client_id, event_id = events.ids(position)
    head = _key_head(4, 16, event_id, 8, events.microseconds[position], len(client_id))
    return head + client_id + _key_tail(8, position)


def write_rejected(
    connection: psycopg.Connection,
    batch_seq: int,
    received_at: datetime,
    rejected: list[tuple[int, bytes, Rejected]],
) -> None:
    """Write rejected lines, given as (line number, exact bytes, reason), into the quarantine."""
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
    """Make a detail storable: without NUL and lone surrogates, and at most LONGEST_DETAIL long."""
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
