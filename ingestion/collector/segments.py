"""Segments of the spool: files of validated lines, named after the time of their receipt.

A segment is open while a worker writes to it, which holds a lock on it, and closed afterwards. An
open segment without that lock was left by a killed worker. Its end may be torn: each record carries
a checksum, and what follows the last whole record was never answered.

Records, not plain lines, because a line's outcome is part of what was answered: a rejected line is
kept as it was sent, while it was validated with what the collector stamps; of a suppressed line
only the event's name, the day and the sequence number may be stored.
"""

from __future__ import annotations

import os
import re
import secrets
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path

import msgspec

from ingestion.contract.line import Reason
from ingestion.contract.validator import Rejected, Sequence, Suppressed
from ingestion.load.ledger import COLLECTOR, EVENTS, OWN

OPEN, CLOSED = ".open", ".closed"
# The kind of a segment of the warehouse's own events; the other kinds are those of loads.
OWN_EVENTS = "own"
_TIME = "%Y%m%dT%H%M%S.%fZ"
_is_segment = re.compile(
    r"(?P<at>\d{8}T\d{6}\.\d{6}Z)-[0-9a-f]{16}\.(?P<kind>[a-z]+)\.(open|closed)"
).fullmatch
# The length of the payload, what it is, and the checksum of both and the payload.
_head = struct.Struct("!IBI")
RECORD_HEAD = _head.size
_checked = struct.Struct("!IB").pack


class RecordKind(IntEnum):
    """What a record holds."""

    # The line as it is loaded.
    ACCEPTED = 1
    # The rejection in JSON, a NUL, and the line as it was sent.
    REJECTED = 2
    # What is counted of it, in JSON.
    SUPPRESSED = 3


@dataclass(frozen=True, slots=True)
class SegmentFile:
    """A segment on disk: when its lines were received, and of which kind they are."""

    path: Path
    received_at: datetime
    kind: str

    @property
    def load_kind(self) -> str:
        """The kind of its load: events, or a kind of entities."""
        return EVENTS if self.kind == OWN_EVENTS else self.kind

    @property
    def source(self) -> str:
        """The source of its batch in the ledger."""
        return OWN if self.kind == OWN_EVENTS else COLLECTOR

    @property
    def identity(self) -> bytes:
        """What the ledger knows the segment by: its name without the suffix."""
        return self.path.stem.encode()


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits in a spool: bytes, segments, and the age of the oldest in seconds."""

    bytes: int = 0
    segments: int = 0
    oldest_seconds: float = 0.0


def new_name(received_at: datetime, kind: str) -> str:
    """Return a unique name for a segment, without its suffix."""
    return f"{received_at.astimezone(UTC):{_TIME}}-{secrets.token_hex(8)}.{kind}"


def segment_file(path: Path) -> SegmentFile | None:
    """Return what a file's name says, None if it is no segment."""
    match = _is_segment(path.name)
    if match is None:
        return None
    return SegmentFile(
        path, datetime.strptime(match["at"], _TIME).replace(tzinfo=UTC), match["kind"]
    )


def segments(folder: Path, suffix: str) -> list[SegmentFile]:
    """Return the open or closed segments of a spool, oldest first."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    found = (segment_file(folder / name) for name in sorted(names) if name.endswith(suffix))
    return [segment for segment in found if segment]


def waiting(folder: Path) -> Waiting:
    """Return what waits in a spool."""
    total = count = 0
    oldest: datetime | None = None
    for segment in (*segments(folder, OPEN), *segments(folder, CLOSED)):
        try:
            total += segment.path.stat().st_size
        except FileNotFoundError:
            # Closed or landed meanwhile.
            continue
        count += 1
        oldest = min(oldest or segment.received_at, segment.received_at)
    age = (datetime.now(UTC) - oldest).total_seconds() if oldest else 0.0
    # A clock that was set back would make it negative.
    return Waiting(total, count, round(max(age, 0.0), 3))


def _record(kind: RecordKind, payload: bytes) -> bytes:
    checksum = zlib.crc32(payload, zlib.crc32(_checked(len(payload), kind)))
    return _head.pack(len(payload), kind, checksum) + payload


def accepted_record(line: bytes) -> bytes:
    """Return the record of an accepted line."""
    return _record(RecordKind.ACCEPTED, line)


def rejected_record(line: bytes, why: Rejected) -> bytes:
    """Return the record of a rejected line."""
    return _record(RecordKind.REJECTED, b"%b\0%b" % (_encode(_Rejection.of(why)), line))


def suppressed_record(outcome: Suppressed) -> bytes:
    """Return the record of a suppressed line, of which no more than this is stored."""
    return _record(RecordKind.SUPPRESSED, _encode(outcome))


def records(content: bytes) -> Iterator[tuple[RecordKind, bytes]]:
    """Yield the whole records at the start of a segment; a torn end is left out."""
    start = 0
    while start + _head.size <= len(content):
        length, kind, checksum = _head.unpack_from(content, start)
        payload = content[start + _head.size : start + _head.size + length]
        if len(payload) < length or kind not in RecordKind.__members__.values():
            return
        if zlib.crc32(payload, zlib.crc32(_checked(length, kind))) != checksum:
            return
        yield RecordKind(kind), payload
        start += _head.size + length


class _Rejection(msgspec.Struct, array_like=True):
    reason: Reason
    detail: str
    sequence: Sequence | None

    @classmethod
    def of(cls, why: Rejected) -> _Rejection:
        detail = why.detail.encode("utf-8", "backslashreplace").decode()
        return cls(why.reason, detail, why.sequence)


def read_rejected(payload: bytes) -> tuple[bytes, Rejected]:
    """Return the line in the record of a rejected line, and why it was rejected."""
    head, _, line = payload.partition(b"\0")
    why = _decode_rejection(head)
    return line, Rejected(why.reason, why.detail, why.sequence)


_encode = msgspec.json.Encoder().encode
_decode_rejection = msgspec.json.Decoder(_Rejection).decode
read_suppressed = msgspec.json.Decoder(Suppressed).decode
