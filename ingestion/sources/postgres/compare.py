"""Compares the rows of a source with what landed from it: what was missed, what was deleted there.

A row counts as landed if its event did, or an event of the same row before it changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec
import psycopg
from psycopg import sql

from ingestion.load.dry_run import try_chunks
from ingestion.load.entities import try_parts
from ingestion.privacy.name_forms import ERASED
from ingestion.sources.files import SourceError
from ingestion.sources.postgres.pull import PullContext, described
from ingestion.sources.postgres.stream import Stream, Window
from warehouse import database
from warehouse.sql_files import read_sql

_LANDED_KEYS = read_sql(__file__, "landed_keys")
# The entities that a stream wrote last, of those that changed in some time.
_LANDED_ENTITIES = sql.SQL(
    "select e.{key} as key from {table} as e "
    "inner join staging.event_batches as b on e.batch_id = b.batch_id where b.source = %(source)s "
    "and e.updated_at >= %(since)s and e.updated_at < %(until)s"
)
_decode = msgspec.json.Decoder().decode
# Keys that a result names; all of them are counted.
MOST_KEYS = 10_000
# Keys that the source is asked for at once.
KEYS_AT_ONCE = 10_000


@dataclass(slots=True)
class Compared:
    """How a stream's rows compare with what landed, from ``since`` up to ``until``.

    ``rows`` are those there; ``missed`` of them never landed and ``rejected`` ones neither.
    ``deleted`` landed and are no longer there. The keys are those of the first MOST_KEYS rows.
    """

    stream: str
    since: datetime
    until: datetime | None = None
    rows: int = 0
    rejected: int = 0
    missed: int = 0
    deleted: int = 0
    missed_keys: list[str] = field(default_factory=list)
    deleted_keys: list[str] = field(default_factory=list)
    error: str | None = None

    def add_missed(self, keys: list[str]) -> None:
        """Count rows that never landed."""
        self.missed += len(keys)
        self.missed_keys += keys[: MOST_KEYS - len(self.missed_keys)]

    def add_deleted(self, keys: list[str]) -> None:
        """Count rows that are no longer there."""
        self.deleted += len(keys)
        self.deleted_keys += keys[: MOST_KEYS - len(self.deleted_keys)]


def compare(context: PullContext, streams: Collection[str], back: timedelta) -> Iterator[Compared]:
    """Compare the streams' rows of the time ``back`` from now; write nothing.

    Only up to where all rows have been read, so that what the next pull reads is not missed.
    """
    since = context.session.open.asked_at - back
    for name, stream in described(context, streams):
        found = Compared(name, since)
        try:
            if isinstance(stream, SourceError):
                raise stream
            if not stream.filters:
                raise SourceError(
                    f"{stream.name}: it can't be compared, as its select does not filter by both "
                    ":since and :until."
                )
            cursor = context.cursors.get(name)
            found.until = cursor and cursor.complete_until
            if found.until and found.until > since:
                _compare(stream, found)
        except SourceError as error:
            found.error = str(error)
        yield found


def _compare(stream: Stream, found: Compared) -> None:
    with database.connect(autocommit=True, application_name="warehouse pull") as connection:
        window = Window(found.since, found.until)
        if stream.kind:
            for part in try_parts(connection, stream.kind, stream.source_of(window)):
                found.rows += part.counts.received
                found.rejected += part.counts.rejected
                found.add_missed(part.newer)
        else:
            for tried in try_chunks(connection, stream.source_of(window)):
                found.rows += tried.counts.received
                found.rejected += tried.counts.rejected
                if len(tried.new):
                    new = {tried.new.ids(position)[1] for position in range(len(tried.new))}
                    found.add_missed(_keys_of(new, [line for _, line in tried.chunk.lines]))
        for gone in _landed_and_gone(connection, stream, found):
            found.add_deleted(gone)


def _keys_of(event_ids: set[bytes], lines: list[bytes]) -> list[str]:
    """Return the keys of the lines of some events, each once."""
    keys: dict[str, None] = {}
    for line in lines:
        event = _decode(line)
        if bytes.fromhex(event["event_id"].replace("-", "")) in event_ids:
            keys[event["context"]["row"]] = None
    return list(keys)


def _landed_and_gone(
    connection: psycopg.Connection, stream: Stream, found: Compared
) -> Iterator[list[str]]:
    """Yield the keys of rows that landed and are no longer there, in parts.

    First the keys of the same time there are compared, which are few. Then the source is asked for
    those that are left, whatever their time: an event may be earlier than the row's last change.
    """
    with connection.transaction():
        connection.execute("create temporary table keys_there (key text) on commit drop")
        with connection.cursor().copy("copy pg_temp.keys_there from stdin") as copy:
            for key in stream.keys(Window(found.since)):
                copy.write_row([key])
        connection.execute("analyze pg_temp.keys_there")
        if stream.kind:
            landed = _LANDED_ENTITIES.format(
                table=sql.Identifier("staging", stream.kind), key=sql.Identifier(stream.key)
            )
        else:
            landed = sql.SQL(_LANDED_KEYS)
        connection.execute(
            sql.SQL(
                "create temporary table keys_left on commit drop as select key from ({}) as l "
                "where key not in (select key from pg_temp.keys_there)"
            ).format(landed),
            {
                "source": stream.name,
                "since": found.since,
                "until": found.until,
                "erased": ERASED.decode(),
            },
        )
        with connection.cursor(name="keys_left") as left:
            left.execute("select key from pg_temp.keys_left order by key")
            while keys := [key for (key,) in left.fetchmany(KEYS_AT_ONCE)]:
                there = stream.existing(keys)
                if gone := [key for key in keys if key not in there]:
                    yield gone
