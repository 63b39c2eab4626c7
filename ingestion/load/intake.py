"""Lands each chunk of event lines in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date, datetime
from typing import NamedTuple

import psycopg

from ingestion.contract.validator import COPY_COLUMNS, Receipt, Rejected
from ingestion.load import ledger, unknown_members
from ingestion.load.conflicts import is_duplicate, lacks_partition
from ingestion.load.landed import (
    copy_rows,
    dropped_months,
    instant_of,
    landed_and_dropped,
    landed_before,
    month_of,
)
from ingestion.load.ledger import Batch, Counts
from ingestion.load.validation import Events, ValidatedChunk
from ingestion.privacy.erasures import block_erasures, read_erased

_COPY_EVENTS = (
    "copy staging.raw_events ("
    + ", ".join(f'"{name}"' for name in COPY_COLUMNS)
    + ") from stdin (format binary)"
)
_DAY = 86_400_000_000
# Another loader may commit the same events or cause a deadlock. Then the chunk is landed again from
# its start; each attempt finds more of its events landed by the other loader.
MAX_ATTEMPTS = 20
# In characters. Details quote names and timestamps, which may be as long as their line.
LONGEST_DETAIL = 2_000


class _ErasedSinceError(Exception):
    """An erasure began after the chunk was validated."""


class Origin(NamedTuple):
    """Where a rejected line came from: a batch, and the line's number in its file."""

    batch_seq: int | None
    line_number: int


class Intake:
    """Lands validated chunks of one load. The connection must be in autocommit.

    A replay gives the origins of the lines that it lands: by the number that they bear in their
    chunk, the batch that received them first and their number there.
    """

    def __init__(
        self,
        connection: psycopg.Connection,
        load_id: int,
        source: str,
        origins: Mapping[int, Origin] | None = None,
    ) -> None:
        self.connection = connection
        self._origins = origins
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
                with self.connection.transaction():
                    ledger.hold_load(self.connection, self._load_id)
                    newest = block_erasures(self.connection)
                    if newest != (receipt.erased.newest if receipt.erased else 0):
                        raise _ErasedSinceError
                    self._dropped_months = dropped_months(self.connection)
                    counts = self._write(validated, receipt)
                    if in_transaction:
                        in_transaction(self.connection)
                    return counts
            except _ErasedSinceError:
                self.erased = read_erased(self.connection)
                receipt = replace(receipt, erased=self.erased)
                validated = validate(receipt)
            except (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure):
                continue
            except psycopg.Error as error:
                if is_duplicate(error):
                    self._expects_duplicates = True
                elif lacks_partition(error):
                    # Expiry has dropped one that existed before.
                    self._months.clear()
                else:
                    raise
        raise psycopg.OperationalError(
            f"a chunk conflicted with other loaders {MAX_ATTEMPTS} times in a row"
        )

    def _write(self, validated: ValidatedChunk, receipt: Receipt) -> Counts:
        new, used, duplicates = validated.accepted, validated.used, validated.duplicates
        landed = landed_and_dropped(self.connection, new, self._dropped_months)
        if self._expects_duplicates:
            landed |= landed_before(self.connection, new)
            self._expects_duplicates = bool(landed)
        if landed:
            used = used + new.sequences(sorted(landed))
            new = new.without(landed)
            duplicates += len(landed)
        copy_rows(self.connection, _COPY_EVENTS, new.rows)
        counts = Counts(
            validated.received, len(new), duplicates,
            validated.suppressed.total(), len(validated.rejected), validated.suppressed_erased,
        )  # fmt: skip
        unknown = unknown_members.rows_of(unknown_members.count_by_member(new.unknown.values()))
        instants = new.microseconds
        batch_seq = ledger.commit_batch(
            self.connection,
            Batch(
                receipt.batch_id, self._load_id, ledger.EVENTS, self._source,
                validated.start, validated.end, validated.digest, receipt.at, counts,
                instant_of(min(instants)) if instants else None,
                instant_of(max(instants)) if instants else None,
                is_replay=self._origins is not None,
            ),
        )  # fmt: skip
        write_rejected(
            self.connection, batch_seq, receipt.at, validated.rejected, self._origins or {}
        )
        _write_rows(
            self.connection,
            "copy staging.suppressed_events (batch_seq, event, day, suppressed) from stdin",
            [(batch_seq, event, day, n) for (event, day), n in validated.suppressed.items()],
        )
        _write_rows(
            self.connection,
            'copy staging.used_sequences (batch_seq, producer, "sequence", day) from stdin',
            [(batch_seq, *sequence) for sequence in used],
        )
        _write_rows(
            self.connection,
            "copy staging.unknown_members (batch_seq, event, path, name, events, nearest_known) "
            "from stdin",
            [(batch_seq, *row) for row in unknown],
        )
        return counts

    def _add_partitions(self, events: Events) -> None:
        days = {microseconds // _DAY for microseconds in events.microseconds}
        months = {month_of(day * _DAY) for day in days} - self._months
        if months:
            self.connection.execute("select staging.add_raw_partitions(%s)", (sorted(months),))
            self._months |= months


def write_rejected(
    connection: psycopg.Connection,
    batch_seq: int,
    received_at: datetime,
    rejected: list[tuple[int, bytes, Rejected]],
    origins: Mapping[int, Origin],
) -> None:
    """Write rejected lines, given as (line number, exact bytes, reason), into the quarantine.

    Those of a replay have other ``origins``, by their number.
    """
    _write_rows(
        connection,
        "copy staging.rejected_events "
        "(batch_seq, origin_batch_seq, line_number, reason, detail, payload, received_at) "
        "from stdin",
        [
            (
                batch_seq,
                *origins.get(number, Origin(None, number)),
                why.reason.value,
                _printable(why.detail),
                line,
                received_at,
            )
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
