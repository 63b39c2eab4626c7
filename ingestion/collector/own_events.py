"""The warehouse's own events: metrics and calls, which it measures about itself.

They belong to the client `_platform`, land through the collector's spool, so that they wait while
the database is away, and are batches of their own in the ledger: what counts the events of
producers leaves them out by their source.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from ingestion.collector.request_validation import RequestValidator, Sender
from ingestion.collector.room import Room
from ingestion.collector.segments import OWN_EVENTS
from ingestion.collector.spool import SpoolError, write_segment
from warehouse import private_files
from warehouse.key_kinds import KeyKind
from warehouse.keys import Key

OF_NO_CLIENT = "_platform"
# How many wait in memory at most, until they are written to the spool.
MOST_UNWRITTEN = 2_000
# The part of the spool's limit that they may use: the rest is for the events of producers.
LARGEST_SHARE = 0.5
# They are validated as the events of an operator's backend.
_SENDER = Sender(Key("", KeyKind.PLATFORM, b"", None, frozenset(), None, 1, None), None, None)
_encode = msgspec.json.Encoder().encode


class OwnEvents:
    """Own events of one process that are not written yet.

    They are numbered, so that their loss is measured like that of any producer. Each process is
    another instance of the producer, and begins with 0.
    """

    def __init__(self, producer: str) -> None:
        self._producer = f"{producer}/{secrets.token_hex(8)}"
        self._sequence = self._dropped = 0
        self._lines: list[bytes] = []

    def add(self, name: str, properties: Mapping[str, Any]) -> None:
        """Add an event of now, or drop it where too many wait."""
        if len(self._lines) >= MOST_UNWRITTEN:
            self.drop()
            return
        context: dict[str, Any] = {
            "source": "runtime",
            "producer": self._producer,
            "sequence": self._sequence,
        }
        self._sequence += 1
        if self._dropped:
            context["dropped"], self._dropped = self._dropped, 0
        event = {
            "event": name,
            "timestamp": datetime.now(UTC),
            "actor": {"client_id": OF_NO_CLIENT},
            "context": context,
            "properties": properties,
        }
        self._lines.append(_encode(event))

    def drop(self) -> None:
        """Number an event that is dropped; the next one that is added says how many were."""
        self._sequence += 1
        self._dropped += 1

    def add_metrics(self, server: str, metrics: Mapping[str, float]) -> None:
        """Add a `system_metric` for each metric of a server."""
        for name, value in metrics.items():
            properties = {"metric_type": name, "metric_value": value, "server_id": server[:128]}
            self.add("system_metric", properties)

    def take(self) -> list[bytes]:
        """Return the events, as lines of JSON, and forget them."""
        lines, self._lines = self._lines, []
        return lines

    def put_back(self, lines: list[bytes]) -> None:
        """Let events that could not be written wait for the next time."""
        self._lines = lines + self._lines


def records_of(lines: Iterable[bytes], received_at: datetime) -> bytes:
    """Return the records of own events in a segment."""
    return b"".join(RequestValidator(received_at).events(lines, _SENDER).records)


class OwnSegments:
    """Writes own events to the collector's spool, for processes that are none of its workers."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._limit_bytes = int(limit_bytes * LARGEST_SHARE)
        self._room: Room | None = None

    def write(self, lines: Iterable[bytes]) -> None:
        """Write a segment of them and sync it. Raises SpoolError, with nothing written."""
        received_at = datetime.now(UTC)
        content = records_of(lines, received_at)
        try:
            if self._room is None:
                # It may be there before the collector.
                private_files.make_folder(self._folder)
                self._room = Room(self._folder, self._limit_bytes)
            write_segment(self._folder, OWN_EVENTS, received_at, content, self._room)
        except OSError as error:
            self._room = None
            why = error.strerror or type(error).__name__
            raise SpoolError(f"the spool can't be written to: {why}") from error
