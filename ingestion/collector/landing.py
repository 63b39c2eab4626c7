"""Lands a segment of the spool: one batch, in the transaction that also ends its load.

So a segment is landed once, whatever is killed: the ledger knows it by its name. The file is
removed afterwards.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg

from ingestion.collector.request_validation import segment_validator
from ingestion.collector.room import Room
from ingestion.collector.segments import (
    CLOSED,
    RECORD_HEAD,
    RecordKind,
    SegmentFile,
    read_rejected,
    read_suppressed,
    records,
)
from ingestion.contract.validator import Outcome, Receipt, Rejected
from ingestion.load import ledger
from ingestion.load.chunks import Offset
from ingestion.load.entities import EntityKind, Row, RowOutcome, land_rows, validate_row
from ingestion.load.intake import Intake
from ingestion.load.ledger import EVENTS, Batch, Counts
from ingestion.load.loader import Receipts, reason
from ingestion.load.validation import ValidatedChunk, collect, unless_erased

Records = list[tuple[RecordKind, bytes]]


def land_segment(
    segment: SegmentFile,
    control: psycopg.Connection,
    data: psycopg.Connection,
    receipts: Receipts,
    room: Room,
) -> bool:
    """Land a closed segment and remove it; return whether it is gone.

    It is left where another process is landing it. Both connections must be in autocommit. Raises
    psycopg.Error, with nothing written, and OSError.
    """
    with _locked(segment) as content:
        if content is None:
            return False
        digest = hashlib.sha256(segment.identity).digest()
        if ledger.state_of_segment(control, segment.source, digest) != "finished":
            load_id = ledger.resume_load(control, segment.load_kind, segment.source, digest)
            if load_id is None:
                if ledger.state_of_segment(control, segment.source, digest) is not None:
                    # A killed lander's transaction may still be committing.
                    return False
                load_id = ledger.start_load(control, segment.load_kind, segment.source, digest)
            try:
                _land(segment, content, load_id, control, data, receipts)
            except BaseException as error:
                with suppress(psycopg.Error):
                    ledger.end_load(control, load_id, "failed", reason(error))
                    ledger.release_load(control, load_id)
                raise
            ledger.release_load(control, load_id)
        with room.counted() as used:
            os.unlink(segment.path)
            used[0] -= len(content)
    return True


def _land(
    segment: SegmentFile,
    content: bytes,
    load_id: int,
    control: psycopg.Connection,
    data: psycopg.Connection,
    receipts: Receipts,
) -> None:
    found = list(records(content))
    end = Offset(1, len(content), len(found))
    digest = hashlib.sha256(content).digest()

    def finish(connection: psycopg.Connection) -> None:
        ledger.end_load(connection, load_id, "finished")

    if segment.load_kind == EVENTS:
        intake = Intake(data, load_id, segment.source)
        receipt = receipts.next(intake.erased, segment.received_at)

        def validate(receipt: Receipt) -> ValidatedChunk:
            return collect(_outcomes(found, receipt), Offset(), end, digest)

        intake.land(validate(receipt), receipt, validate, finish)
        return
    kind = EntityKind(segment.kind)
    batch = Batch(
        ledger.next_batch_id(control), load_id, kind, segment.source, Offset(), end, digest,
        segment.received_at, Counts(),
    )  # fmt: skip
    land_rows(data, kind, list(_rows(kind, found, segment)), batch, finish)


def _outcomes(found: Records, receipt: Receipt) -> Iterator[tuple[int, bytes, Outcome]]:
    validate = segment_validator(receipt).validate
    for number, (kind, payload) in enumerate(found, 1):
        if kind is RecordKind.ACCEPTED:
            yield number, payload, unless_erased(payload, validate(payload), receipt)
        elif kind is RecordKind.REJECTED:
            line, outcome = read_rejected(payload)
            yield number, line, unless_erased(line, outcome, receipt)
        else:
            yield number, b"", read_suppressed(payload)


def _rows(kind: EntityKind, found: Records, segment: SegmentFile) -> Iterator[RowOutcome]:
    for number, (is_what, payload) in enumerate(found, 1):
        why: Rejected | None = None
        if is_what is RecordKind.REJECTED:
            payload, why = read_rejected(payload)
        row = Row(number, payload, None)
        yield row, why or validate_row(kind, row, segment.received_at)


@contextmanager
def _locked(segment: SegmentFile) -> Iterator[bytes | None]:
    """Hold a segment's lock and give its content; None if it is gone or held by another lander."""
    try:
        file = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        yield None
        return
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        # Whoever held the lock before may have removed or renamed it.
        if not _is_at(file, segment.path):
            yield None
            return
        with open(file, "rb", closefd=False) as readable:
            content = readable.read()
        yield content
    finally:
        os.close(file)


def _is_at(file: int, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file), os.stat(path))
    return False


def adopt(segment: SegmentFile, room: Room) -> bool:
    """Close an open segment whose writer was killed; return whether it was.

    A torn end is cut off, for it was never answered. Without whole records the segment is removed.
    """
    with _locked(segment) as content:
        if content is None:
            return False
        whole = sum(len(payload) + RECORD_HEAD for _, payload in records(content))
        with room.counted() as used:
            if not whole:
                os.unlink(segment.path)
            else:
                os.truncate(segment.path, whole)
                os.rename(segment.path, segment.path.with_suffix(CLOSED))
            used[0] -= len(content) - whole
    return True
