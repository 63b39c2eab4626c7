"""Shows what a load of a source would do. Writes nothing but temporary tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg

from ingestion.contract.validator import Receipt
from ingestion.load.chunks import Offset, cut, split
from ingestion.load.landed import dropped_months, landed_and_dropped, landed_before
from ingestion.load.ledger import Counts
from ingestion.load.unknown_members import (
    Named,
    UnknownMember,
    count_by_member,
    unknown_members,
)
from ingestion.load.validation import Events, validate_chunk
from ingestion.privacy.erasures import read_erased
from ingestion.sources.files import Source
from warehouse import database
from warehouse.settings import settings

FIRST_ENVELOPES = 3


@dataclass(slots=True)
class RejectedFor:
    """How many lines would be rejected for a reason, and the first: its number and its detail."""

    lines: int
    first_line: int
    detail: str


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a load would do.

    ``envelopes`` are the first lines as the validator gets them, after the mapping.
    """

    source: str
    counts: Counts
    rejected: dict[str, RejectedFor]
    envelopes: list[str]
    unknown_members: list[UnknownMember]


def dry_run(source: Source, progress: Callable[[int, Counts], None] | None = None) -> DryRun:
    """Validate a source and look for duplicates as a load would, and write nothing.

    ``progress`` is called after each chunk with the bytes of the file read and the counts so far.
    Raises SourceError or database.DatabaseError.
    """
    with database.connect(autocommit=True, application_name="warehouse load") as connection:
        erased, dropped = read_erased(connection), dropped_months(connection)
        connection.execute(
            "create temporary table keys_before (client_id text, event_id uuid, "
            "happened_at timestamptz, primary key (client_id, event_id, happened_at))"
        )
        counts = Counts()
        unknown: Counter[Named] = Counter()
        rejected: dict[str, RejectedFor] = {}
        envelopes: list[str] = []
        for raw in cut(source.blocks(0), Offset()):
            chunk = split(raw)
            # The salt is in hashes that nobody stores.
            receipt = Receipt(
                datetime.now(UTC), bytes(32), 0, erased,
                settings().earliest_event, settings().country_database,
            )  # fmt: skip
            validated = validate_chunk(chunk, receipt)
            for number, _, why in validated.rejected:
                of_reason = rejected.setdefault(why.reason, RejectedFor(0, number, why.detail))
                of_reason.lines += 1
            for _, line in chunk.lines[: FIRST_ENVELOPES - len(envelopes)]:
                envelopes.append(line.decode("utf-8", "backslashreplace"))
            events = validated.accepted
            landed = landed_and_dropped(connection, events, dropped)
            landed |= _repeated(connection, events)
            new = events.without(landed) if landed else events
            unknown += count_by_member(new.unknown.values())
            counts += Counts(
                validated.received, len(new), validated.duplicates + len(landed),
                validated.suppressed.total(), len(validated.rejected),
                validated.suppressed_erased,
            )  # fmt: skip
            if progress:
                progress(source.position(), counts)
    return DryRun(source.name, counts, rejected, envelopes, unknown_members(unknown))


def _repeated(connection: psycopg.Connection, events: Events) -> set[int]:
    """Return the positions of the events that landed before, or that the source has had before."""
    with connection.transaction():
        landed = landed_before(connection, events)
        fresh = connection.execute(
            "with fresh as (insert into pg_temp.keys_before "
            "select client_id, event_id, happened_at from pg_temp.chunk_keys "
            "on conflict do nothing returning client_id, event_id, happened_at) "
            "select k.position from pg_temp.chunk_keys as k "
            "inner join fresh as f using (client_id, event_id, happened_at)"
        ).fetchall()
    return landed | (set(range(len(events))) - {position for (position,) in fresh})
