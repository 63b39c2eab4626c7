"""Event lines and files for the tests, and what a warehouse holds after they were loaded."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg

JANUARY = datetime(2026, 1, 1, tzinfo=UTC)
NAMESPACE = uuid.UUID(int=0x5EED)

STAGED_TABLES = (
    "raw_events", "event_batches", "loads", "rejected_events", "suppressed_events",
    "used_sequences", "unknown_members", "visitor_salts", "clients", "units", "users", "documents",
)  # fmt: skip


def event(number: int, **changes: Any) -> dict[str, Any]:
    """A valid event, another one for each number, with members changed."""
    at = JANUARY + timedelta(minutes=number)
    return {
        "event_id": str(uuid.uuid5(NAMESPACE, str(number))),
        "event": "signup",
        "timestamp": at.isoformat(),
        "actor": {"client_id": f"client-{number % 7}", "user_id": f"user-{number}"},
        "context": {"source": "api", "producer": f"edge-{number % 3}", "sequence": number},
    } | changes


def line(number: int, **changes: Any) -> bytes:
    """A valid event as a line, with its newline."""
    return json.dumps(event(number, **changes)).encode() + b"\n"


def raw_property(number: int, text: str) -> bytes:
    """A valid line but for a property that is written as given."""
    return line(number, properties={"x": "HERE"}).replace(b'"HERE"', text.encode())


def clean_file(lines: int, first: int = 0) -> bytes:
    """A file of so many valid events, all different."""
    return b"".join(line(number) for number in range(first, first + lines))


def mixed_file(lines: int) -> bytes:
    """A file of so many lines with every outcome in it.

    Of ten lines six or seven land; one each is refused, not consented to, and a duplicate of an
    earlier one; one has a member that is not in the plan; now and then one is blank.
    """

    def one(number: int) -> bytes:
        if number % 10 == 3:
            return line(number, event="no such event")
        if number % 10 == 5:
            context = event(number)["context"] | {"dnt": True}
            return line(number, event="pdf_download", context=context)
        if number % 10 == 6:
            return line(number, properties={"plann": "pro"})
        if number % 10 == 8:
            return line(number // 20 * 10)
        return b" \n" if number % 100 == 99 else line(number)

    return b"".join(map(one, range(lines)))


def empty(connection: psycopg.Connection) -> None:
    """Take everything out of staging, as in a fresh database; the partitions stay."""
    tables = ", ".join(f"staging.{table}" for table in STAGED_TABLES)
    connection.execute(f"truncate {tables} restart identity")


def read_exactly(text: str | None) -> Any:
    """Read JSON with every number as the decimal that it is."""
    if text is None:
        return None
    return json.loads(text, parse_int=Decimal, parse_float=Decimal)


def rows(connection: psycopg.Connection, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    """What a query finds."""
    return connection.execute(query, parameters).fetchall()


def value(connection: psycopg.Connection, query: str, *parameters: object) -> Any:
    """The one value that a query finds."""
    ((found,),) = rows(connection, query, *parameters)
    return found


def contents(connection: psycopg.Connection) -> dict[str, list[tuple[Any, ...]]]:
    """All that was loaded, sorted, less what differs from load to load: ids, times of receipt, and
    visitor hashes with their salts.
    """
    return {name: sorted(rows(connection, query), key=repr) for name, query in CONTENTS.items()}


CONTENTS = {
    "raw_events": "select client_id, event_id, timestamp, event, actor::text, context::text, "
    "properties::text, is_bot, visitor_hash is null from staging.raw_events",
    "rejected_events": "select b.chunk, r.line_number, r.reason, r.detail, r.payload "
    "from staging.rejected_events as r inner join staging.event_batches as b using (batch_seq)",
    "suppressed_events": "select b.chunk, s.event, s.day, s.suppressed "
    "from staging.suppressed_events as s inner join staging.event_batches as b using (batch_seq)",
    "used_sequences": "select b.chunk, u.producer, u.sequence, u.day "
    "from staging.used_sequences as u inner join staging.event_batches as b using (batch_seq)",
    "unknown_members": "select b.chunk, u.event, u.path, u.name, u.events, u.nearest_known "
    "from staging.unknown_members as u inner join staging.event_batches as b using (batch_seq)",
    "event_batches": "select b.chunk, b.kind, b.start_offset, b.end_offset, b.lines_before, "
    "b.lines, b.digest, b.received, b.accepted, b.duplicates, b.suppressed, b.rejected, "
    "b.min_timestamp, b.max_timestamp, e.events from staging.event_batches as b "
    "cross join lateral (select count(*) as events from staging.raw_events as r "
    "where r.batch_id = b.batch_id) as e",
    "loads": "select kind, state from staging.loads",
}
