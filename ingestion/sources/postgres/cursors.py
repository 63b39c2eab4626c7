"""How far each stream was read, and from where the next pull must read so that no row is missed.

A row is visible when its transaction has committed, and its time is no earlier than the begin of
that transaction (`now()` is that begin). So the rows that a snapshot does not show are of
transactions that were open when it was taken, or of later ones: their times are no earlier than the
begin of the oldest one. The next pull reads from there, less the source's overlap, which covers
clocks that differ.

PostgreSQL does not say when a prepared transaction began. One that was not prepared at the last
pull was open then, or began later: so it began no earlier than the oldest one that was open then.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg
from psycopg.types.json import Jsonb

from ingestion.sources.postgres.session import OpenTransactions


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last pull of a stream; see staging.source_cursors for the columns.

    ``prepared`` has the earliest begin of each prepared transaction; None: it may be any.
    """

    asked_at: datetime
    open_since: datetime
    prepared: dict[str, datetime | None]

    @property
    def complete_until(self) -> datetime | None:
        """All rows with an earlier time have been read; None if that is certain of none."""
        begins = [self.open_since, *self.prepared.values()]
        return None if None in begins else min(filter(None, begins))

    def since(self, overlap: timedelta) -> datetime | None:
        """Return from where the next pull reads; None: from the start."""
        until = self.complete_until
        return until and until - overlap


def next_cursor(last: Cursor | None, seen: OpenTransactions) -> Cursor:
    """Return the cursor after a pull that saw ``seen``; ``last`` is that of the pull before."""
    before = last.open_since if last else None
    known = last.prepared if last else {}
    return Cursor(
        seen.asked_at, seen.since, {name: known.get(name, before) for name in seen.prepared}
    )


def read_cursors(connection: psycopg.Connection, source: str) -> dict[str, Cursor]:
    """Return the cursors of a source by stream."""
    found = connection.execute(
        "select stream, asked_at, open_since, prepared from staging.source_cursors "
        "where source = %s",
        (source,),
    ).fetchall()
    return {
        stream: Cursor(
            asked_at,
            open_since,
            {name: at and datetime.fromisoformat(at) for name, at in prepared.items()},
        )
        for stream, asked_at, open_since, prepared in found
    }


def write_cursor(connection: psycopg.Connection, source: str, stream: str, cursor: Cursor) -> None:
    """Store how far a stream was read."""
    prepared = {name: at and at.isoformat() for name, at in cursor.prepared.items()}
    connection.execute(
        "insert into staging.source_cursors "
        "(source, stream, asked_at, open_since, prepared, complete_until) "
        "values (%s, %s, %s, %s, %s, %s) on conflict (source, stream) do update set "
        "(asked_at, open_since, prepared, complete_until, pulled_at) = (excluded.asked_at, "
        "excluded.open_since, excluded.prepared, excluded.complete_until, clock_timestamp())",
        (
            source, stream, cursor.asked_at, cursor.open_since, Jsonb(prepared),
            cursor.complete_until,
        ),
    )  # fmt: skip
