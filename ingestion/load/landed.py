"""Looks up which events have landed before: in raw events, or in months that expired since."""

from __future__ import annotations

import struct
from datetime import date, datetime, timedelta
from uuid import UUID

import psycopg

from ingestion.contract.validator import EPOCH
from ingestion.load.validation import Events

_COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)
_COPY_TRAILER = struct.pack("!h", -1)
_key_head = struct.Struct("!hi16siqi").pack
_key_tail = struct.Struct("!iq").pack


def dropped_months(connection: psycopg.Connection) -> set[date]:
    """Return the months of raw events that have expired."""
    found = connection.execute("select month from staging.dropped_months").fetchall()
    return {month for (month,) in found}


def landed_before(connection: psycopg.Connection, events: Events) -> set[int]:
    """Return the positions of the events whose key is stored in staging.raw_events.

    Until the transaction ends, pg_temp.chunk_keys holds the keys of all of them by position.
    """
    connection.execute(
        "create temporary table if not exists chunk_keys "
        "(event_id uuid, happened_at timestamptz, client_id text, position bigint) "
        "on commit delete rows"
    )
    copy_rows(
        connection,
        "copy pg_temp.chunk_keys (event_id, happened_at, client_id, position) "
        "from stdin (format binary)",
        b"".join(_key_row(events, position) for position in range(len(events))),
    )
    # Without these the planner looks up each key in the unique index of one partition, and never
    # scans a table.
    connection.execute(
        "select set_config('enable_hashjoin', 'off', true), "
        "set_config('enable_mergejoin', 'off', true)"
    )
    found = connection.execute(
        "select k.position from pg_temp.chunk_keys as k inner join staging.raw_events as r "
        "on k.client_id = r.client_id and k.event_id = r.event_id "
        'and k.happened_at = r."timestamp"'
    )
    return {position for (position,) in found}


def landed_and_dropped(
    connection: psycopg.Connection, events: Events, dropped: set[date]
) -> set[int]:
    """Return the positions of the events that landed before in months that expired since."""
    if not dropped:
        return set()
    old = [
        position
        for position, microseconds in enumerate(events.microseconds)
        if month_of(microseconds) in dropped
    ]
    if not old:
        return set()
    ids = [events.ids(position) for position in old]
    found = connection.execute(
        "select staging.landed_and_dropped(%s::text[], %s::uuid[], %s::timestamptz[])",
        (
            [client_id.decode() for client_id, _ in ids],
            [UUID(bytes=event_id) for _, event_id in ids],
            [instant_of(events.microseconds[position]) for position in old],
        ),
    )
    return {old[index] for (index,) in found}


def copy_rows(connection: psycopg.Connection, statement: str, rows: bytes) -> None:
    """Copy rows in binary format."""
    with connection.cursor().copy(statement) as copy:
        for part in (_COPY_HEADER, rows, _COPY_TRAILER):
            copy.write(part)


def _key_row(events: Events, position: int) -> bytes:
    client_id, event_id = events.ids(position)
    head = _key_head(4, 16, event_id, 8, events.microseconds[position], len(client_id))
    return head + client_id + _key_tail(8, position)


def month_of(microseconds: int) -> date:
    """Return the first day of the month of an instant in microseconds since EPOCH."""
    return instant_of(microseconds).date().replace(day=1)


def instant_of(microseconds: int) -> datetime:
    """Return the instant of microseconds since EPOCH."""
    return EPOCH + timedelta(microseconds=microseconds)
