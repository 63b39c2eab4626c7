"""Shows what a load of a source would do. Writes nothing but temporary tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg

from ingestion.contract.validator import Receipt, Rejected
from ingestion.load.chunks import Chunk, Offset, cut, split
from ingestion.load.entities import EntityKind, try_parts
from ingestion.load.landed import dropped_months, landed_and_dropped, landed_before
from ingestion.load.ledger import Counts
from ingestion.load.unknown_members import (
    Named,
    UnknownMember,
    count_by_member,
    unknown_members,
)
from ingestion.load.validation import Events, ValidatedChunk, validate_chunk
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


@dataclass(frozen=True, slots=True)
class TriedChunk:
    """What a load would do with a chunk: ``new`` are the events that it would land."""

    chunk: Chunk
    validated: ValidatedChunk
    new: Events

    @property
    def counts(self) -> Counts:
        """The counts of its lines by outcome."""
        one = self.validated
        return Counts(
            one.received, len(self.new), one.duplicates + len(one.accepted) - len(self.new),
            one.suppressed.total(), len(one.rejected), one.suppressed_erased,
        )  # fmt: skip


def try_chunks(connection: psycopg.Connection, source: Source) -> Iterator[TriedChunk]:
    """Validate a source and look for duplicates as a load would, and write nothing.

    ``connection`` must be in autocommit, and is used for one source. Raises SourceError.
    """
    erased, dropped = read_erased(connection), dropped_months(connection)
    connection.execute(
        "create temporary table keys_before (client_id text, event_id uuid, "
        "happened_at timestamptz, primary key (client_id, event_id, happened_at))"
    )
    for raw in cut(source.blocks(0), Offset()):
        chunk = split(raw)
        # The salt is in hashes that nobody stores.
        receipt = Receipt(
            datetime.now(UTC), bytes(32), 0, erased,
            settings().earliest_event, settings().country_database,
        )  # fmt: skip
        validated = validate_chunk(chunk, receipt)
        events = validated.accepted
        landed = landed_and_dropped(connection, events, dropped)
        landed |= _repeated(connection, events)
        yield TriedChunk(chunk, validated, events.without(landed) if landed else events)


def dry_run(source: Source, progress: Callable[[int, Counts], None] | None = None) -> DryRun:
    """Show what a load of a source of event lines would do; write nothing.

    ``progress`` is called after each chunk with the bytes of the file read and the counts so far.
    Raises SourceError or database.DatabaseError.
    """
    with database.connect(autocommit=True, application_name="warehouse load") as connection:
        counts = Counts()
        unknown: Counter[Named] = Counter()
        rejected: dict[str, RejectedFor] = {}
        envelopes: list[str] = []
        for tried in try_chunks(connection, source):
            _count_rejected(
                rejected, [(number, why) for number, _, why in tried.validated.rejected]
            )
            _add_first(envelopes, [line for _, line in tried.chunk.lines[:FIRST_ENVELOPES]])
            unknown += count_by_member(tried.new.unknown.values())
            counts += tried.counts
            if progress:
                progress(source.position(), counts)
    return DryRun(source.name, counts, rejected, envelopes, unknown_members(unknown))


def dry_run_of_entities(kind: EntityKind, source: Source) -> DryRun:
    """Show what a load of a source of entities would do; write nothing.

    Raises SourceError or database.DatabaseError.
    """
    with database.connect(autocommit=True, application_name="warehouse load") as connection:
        counts = Counts()
        rejected: dict[str, RejectedFor] = {}
        envelopes: list[str] = []
        for tried in try_parts(connection, kind, source):
            _count_rejected(rejected, tried.rejected)
            _add_first(envelopes, [row.payload for row in tried.part.rows[:FIRST_ENVELOPES]])
            counts += tried.counts
    return DryRun(source.name, counts, rejected, envelopes, [])


def _count_rejected(by_reason: dict[str, RejectedFor], lines: list[tuple[int, Rejected]]) -> None:
    for number, why in lines:
        of_reason = by_reason.setdefault(why.reason, RejectedFor(0, number, why.detail))
        of_reason.lines += 1


def _add_first(envelopes: list[str], lines: list[bytes]) -> None:
    for line in lines[: FIRST_ENVELOPES - len(envelopes)]:
        envelopes.append(line.decode("utf-8", "backslashreplace"))


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
