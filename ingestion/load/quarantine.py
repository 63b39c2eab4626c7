"""The quarantine: lists, shows and replays rejected lines."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import psycopg
from psycopg.rows import class_row

from ingestion.contract.line import Reason
from ingestion.load import ledger
from ingestion.load.chunks import LONGEST_KEPT_LINE, Chunk, Offset
from ingestion.load.intake import Intake
from ingestion.load.ledger import Counts
from ingestion.load.loader import Receipts
from ingestion.load.loader import reason as why
from ingestion.load.validation import validate_chunk
from warehouse import database
from warehouse.errors import WarehouseError

# Limits of a chunk that is replayed: lines and bytes.
REPLAYED_AT_ONCE = 5_000
REPLAYED_BYTES = 8 << 20


class ReplayError(WarehouseError):
    """The requested lines can't be replayed."""


@dataclass(frozen=True, slots=True)
class RejectedGroup:
    """Counts of a source's rejected lines with one reason, and how many of them still wait."""

    reason: str
    kind: str
    source: str
    rejected: int
    waiting: int
    last_received_at: datetime
    example_id: int


@dataclass(frozen=True, slots=True)
class RejectedLine:
    """One rejected line with its reason, payload and origin."""

    reject_id: int
    batch_seq: int
    kind: str
    source: str
    line_number: int
    reason: str
    detail: str
    payload: bytes
    received_at: datetime
    replayed_at: datetime | None


def rejected_groups(connection: psycopg.Connection) -> list[RejectedGroup]:
    """Return the groups of rejected lines, the largest first."""
    return (
        connection.cursor(row_factory=class_row(RejectedGroup))
        .execute(
            "select r.reason, b.kind, b.source, count(*) as rejected, "
            "count(*) filter (where r.replayed_at is null and r.expired_at is null) as waiting, "
            "max(r.received_at) as last_received_at, max(r.reject_id) as example_id "
            "from staging.rejected_events as r "
            "inner join staging.event_batches as b on r.batch_seq = b.batch_seq "
            "group by r.reason, b.kind, b.source order by rejected desc, r.reason, b.source"
        )
        .fetchall()
    )


def rejected_line(connection: psycopg.Connection, reject_id: int) -> RejectedLine | None:
    """Return one rejected line, None if there is none with this id."""
    return (
        connection.cursor(row_factory=class_row(RejectedLine))
        .execute(
            "select r.reject_id, r.batch_seq, b.kind, b.source, r.line_number, r.reason, r.detail, "
            "r.payload, r.received_at, r.replayed_at from staging.rejected_events as r "
            "inner join staging.event_batches as b on r.batch_seq = b.batch_seq "
            "where r.reject_id = %s",
            (reject_id,),
        )
        .fetchone()
    )


def replay(reason: str | None = None) -> Counts:
    """Validate and land all waiting events again, or those with one reason.

    Lines that are too large are never replayed: the part that is kept may look like a complete line
    that nobody sent. Raises ReplayError if they are
    requested, or a reason that does not exist.
    A line that is rejected again becomes a new reject; the old one is marked as replayed, not
    deleted. Entities are not replayed: load their file again.
    """
    if reason not in {None, *Reason}:
        raise ReplayError(
            f"No line is rejected for the reason {reason!r}. Reasons: {', '.join(Reason)}."
        )
    if reason == Reason.TOO_LARGE:
        raise ReplayError(
            f"Lines that are too large can't be replayed: only their first {LONGEST_KEPT_LINE:,} "
            "bytes are kept. Split them at the producer and load them again."
        )
    with (
        database.connect(autocommit=True, application_name="warehouse rejected replay") as control,
        database.connect(autocommit=True, application_name="warehouse rejected replay") as data,
    ):
        # Replay only up to this one, so that lines that are rejected again are not replayed again.
        newest = control.execute("select max(reject_id) from staging.rejected_events").fetchone()
        load_id = ledger.start_load(control, ledger.EVENTS, "replay", b"")
        try:
            done = _replay_up_to(newest[0] if newest else 0, reason, load_id, control, data)
        except BaseException as error:
            with suppress(psycopg.Error):
                ledger.end_load(control, load_id, "abandoned", why(error))
            raise
        ledger.end_load(control, load_id, "finished")
    return done


def _replay_up_to(
    newest: int | None,
    reason: str | None,
    load_id: int,
    control: psycopg.Connection,
    data: psycopg.Connection,
) -> Counts:
    done = Counts()
    intake = Intake(data, load_id, "replay")
    receipts = Receipts(control)
    offset = Offset()
    after = 0
    while waiting := control.execute(
        "select reject_id, payload from ("
        "select reject_id, payload, "
        "sum(octet_length(payload)) over (order by reject_id) - octet_length(payload) as before "
        "from (select r.reject_id, r.payload from staging.rejected_events as r "
        "inner join staging.event_batches as b on r.batch_seq = b.batch_seq "
        "where r.replayed_at is null and r.expired_at is null and b.kind = 'events' "
        "and r.reject_id > %s and r.reject_id <= %s "
        "and r.reason <> %s and coalesce(r.reason = %s, true) "
        "order by r.reject_id limit %s) as next_ones) as measured "
        "where before < %s order by reject_id",
        (after, newest, Reason.TOO_LARGE, reason, REPLAYED_AT_ONCE, REPLAYED_BYTES),
    ).fetchall():
        chunk = _chunk(waiting, offset)
        receipt = receipts.next(intake.erased)
        validate = partial(validate_chunk, chunk)
        ids = [reject_id for reject_id, _ in waiting]
        done += intake.land(
            validate(receipt), receipt, validate, lambda c, ids=ids: _mark_replayed(c, ids)
        )
        after, offset = ids[-1], chunk.end
    return done


def _chunk(waiting: list[tuple[int, bytes]], start: Offset) -> Chunk:
    """Return rejected lines as a chunk; their line numbers are their reject ids."""
    content = b"\n".join(payload for _, payload in waiting) + b"\n"
    end = Offset(start.chunks + 1, start.bytes + len(content), start.lines + len(waiting))
    return Chunk(start, end, waiting, content, hashlib.sha256(content).digest())


def _mark_replayed(connection: psycopg.Connection, reject_ids: list[int]) -> None:
    marked = connection.execute(
        "update staging.rejected_events set replayed_at = clock_timestamp() "
        "where reject_id = any(%s) and replayed_at is null",
        (reject_ids,),
    ).rowcount
    if marked != len(reject_ids):
        raise psycopg.OperationalError("another replay took some of these lines; run it again")
