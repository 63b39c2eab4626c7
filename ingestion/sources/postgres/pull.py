"""Pulls a source: the rows of its streams that the last pull has not seen, from one snapshot."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

import psycopg

from ingestion.load import ledger
from ingestion.load.dry_run import DryRun, dry_run, dry_run_of_entities
from ingestion.load.entities import load_entities
from ingestion.load.ledger import Counts
from ingestion.load.loader import load
from ingestion.load.workers import Workers
from ingestion.sources.files import SourceError
from ingestion.sources.postgres.cursors import Cursor, next_cursor, read_cursors, write_cursor
from ingestion.sources.postgres.declared import DeclaredSource
from ingestion.sources.postgres.session import SourceSession, source_session
from ingestion.sources.postgres.stream import Stream, Window, stream_name
from warehouse import database


@dataclass(frozen=True, slots=True)
class Pulled:
    """The result of one stream; ``error`` is set if it failed, or all its rows were rejected.

    ``kind`` is events or the entity, None if the stream can't be read. ``since`` is from where its
    rows were asked for; None: from the start.
    """

    stream: str
    kind: str | None = None
    since: datetime | None = None
    counts: Counts = field(default_factory=Counts)
    error: str | None = None


@dataclass(frozen=True, slots=True)
class PullContext:
    """What all streams of a pull share."""

    source: DeclaredSource
    session: SourceSession
    # To the warehouse, in autocommit.
    control: psycopg.Connection
    cursors: dict[str, Cursor]

    @property
    def warning(self) -> str | None:
        """What the operator needs to know about the session, if there is anything."""
        if not self.session.open.are_hidden:
            return None
        minutes = int(self.source.unseen_transaction.total_seconds()) // 60
        return (
            f"{self.source.name}: the login of {self.source.url_variable} may not see all open "
            f"transactions. Rows of transactions that take longer than {minutes} minutes may be "
            "missed. Grant it pg_read_all_stats and pull from the primary, or raise "
            "unseen_transaction_seconds in source.yml."
        )


@contextmanager
def opened(source: DeclaredSource, *, is_recorded: bool = True) -> Iterator[PullContext]:
    """Open a source. Raises SourceError, which the ledger records if this is a pull.

    Raises database.DatabaseError if there is no warehouse.
    """
    started_at = datetime.now(UTC)
    with ExitStack() as stack:
        control = stack.enter_context(
            database.connect(autocommit=True, application_name="warehouse pull")
        )
        cursors = read_cursors(control, source.name)
        try:
            session = stack.enter_context(source_session(source))
        except SourceError as error:
            if is_recorded:
                ledger.note_failure(control, source.name, str(error), started_at)
            raise
        yield PullContext(source, session, control, cursors)


def pull(context: PullContext, streams: Collection[str], *, full: bool = False) -> Iterator[Pulled]:
    """Pull streams one by one, entities first; one that fails does not stop the others.

    ``full`` reads them from the start. Raises loader.LoadError, psycopg.Error or
    database.DatabaseError if the warehouse fails: then the cursors of the streams that were not
    finished stay, and the next pull reads their rows again.
    """
    with Workers() as workers:
        for name, stream in described(context, streams):
            if isinstance(stream, SourceError):
                ledger.note_failure(
                    context.control,
                    stream_name(context.source, name),
                    str(stream),
                    datetime.now(UTC),
                )
                yield Pulled(name, error=str(stream))
                continue
            cursor = context.cursors.get(name)
            window = Window(
                cursor.since(context.source.overlap) if cursor and not full else None,
                context.session.open.asked_at,
            )
            ledger.abandon_interrupted(context.control, stream.name)
            at_end = partial(
                write_cursor,
                source=context.source.name,
                stream=name,
                cursor=next_cursor(cursor, context.session.open),
            )
            kind = str(stream.kind or ledger.EVENTS)
            rows = stream.source_of(window)
            try:
                if stream.kind:
                    counts = load_entities(stream.kind, rows, at_end)
                else:
                    counts = load(rows, workers=workers, at_end=at_end).counts
            except SourceError as error:
                yield Pulled(name, kind, window.since, error=str(error))
            else:
                yield Pulled(name, kind, window.since, counts, _all_rejected(stream, counts))


def dry_run_of(
    context: PullContext, streams: Collection[str]
) -> Iterator[tuple[str, DryRun | SourceError]]:
    """Yield what a pull of each stream would take, or why it would fail; write nothing."""
    for name, stream in described(context, streams):
        if isinstance(stream, SourceError):
            yield name, stream
            continue
        cursor = context.cursors.get(name)
        since = cursor.since(context.source.overlap) if cursor else None
        rows = stream.source_of(Window(since, context.session.open.asked_at))
        try:
            yield name, dry_run_of_entities(stream.kind, rows) if stream.kind else dry_run(rows)
        except SourceError as error:
            yield name, error


def described(
    context: PullContext, streams: Collection[str]
) -> list[tuple[str, Stream | SourceError]]:
    """Return streams with their columns, or why they can't be read: entities first."""
    found = [(name, _stream(context, name)) for name in streams]
    return sorted(found, key=lambda one: isinstance(one[1], Stream) and one[1].kind is None)


def _stream(context: PullContext, name: str) -> Stream | SourceError:
    try:
        return Stream(context.session, name)
    except SourceError as error:
        return error


def _all_rejected(stream: Stream, counts: Counts) -> str | None:
    if not 0 < counts.received == counts.rejected:
        return None
    return (
        f"{stream.name}: all of its {counts.received:,} rows were rejected; `warehouse rejected "
        f"list --source {stream.name}` says why. Fix the stream, and pull it with --full."
    )
