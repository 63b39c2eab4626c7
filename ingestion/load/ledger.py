"""The ledger: loads, and the batches that they commit, numbered in commit order."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

import psycopg

from ingestion.load.chunks import Offset
from warehouse import locks
from warehouse.locks import Lock

EVENTS = "events"
ERASURE = "erasure"
# The source of what the collector lands; the digest of a load names the segment.
COLLECTOR = "collector"
# The source of the warehouse's own events, which land through the collector's spool as well.
OWN = "warehouse"


@dataclass(frozen=True, slots=True)
class LastBatch:
    """The last chunk that a load has committed: its start, end and digest."""

    start: Offset
    end: Offset
    digest: bytes


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts of lines by outcome: ``received`` is the sum of the next four.

    ``suppressed_erased`` counts the suppressed lines of erased subjects.
    """

    received: int = 0
    accepted: int = 0
    duplicates: int = 0
    suppressed: int = 0
    rejected: int = 0
    suppressed_erased: int = 0

    def __add__(self, other: Counts) -> Counts:
        """Return the sum of each count."""
        return Counts(
            self.received + other.received,
            self.accepted + other.accepted,
            self.duplicates + other.duplicates,
            self.suppressed + other.suppressed,
            self.rejected + other.rejected,
            self.suppressed_erased + other.suppressed_erased,
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch of the ledger. The timestamps are those of the accepted events.

    ``is_replay`` says that all of its lines were received before, by other batches.
    """

    batch_id: int
    load_id: int
    kind: str
    source: str
    start: Offset
    end: Offset
    digest: bytes
    received_at: datetime
    counts: Counts
    min_timestamp: datetime | None = None
    max_timestamp: datetime | None = None
    is_replay: bool = False


def next_batch_id(connection: psycopg.Connection) -> int:
    """Return a new number for the rows of a batch."""
    return _one(connection, "select nextval('staging.batch_ids')")


def start_load(connection: psycopg.Connection, kind: str, source: str, head_digest: bytes) -> int:
    """Start a new load and return its id.

    ``connection`` must be in autocommit. It holds the load's advisory lock until it closes, which
    shows that the loader is alive.
    """
    with connection.transaction():
        load_id = _one(
            connection,
            "insert into staging.loads (kind, source, head_digest) values (%s, %s, %s) "
            "returning load_id",
            kind, source, head_digest,
        )  # fmt: skip
        _try_lock_load(connection, load_id)
    return load_id


def resume_load(
    connection: psycopg.Connection, kind: str, source: str, head_digest: bytes
) -> int | None:
    """Resume the interrupted load of this source, if there is one, and return its id.

    A load is interrupted if its loader is no longer alive. A killed loader's last transaction may
    still be committing on the server: this waits for its end (see ``hold_load``), because only then
    the load's last batch is certain.
    """
    unfinished = connection.execute(
        "select load_id from staging.loads where kind = %s and source = %s and head_digest = %s "
        "and state in ('running', 'failed') order by load_id",
        (kind, source, head_digest),
    ).fetchall()
    for (load_id,) in unfinished:
        if not _try_lock_load(connection, load_id):
            continue
        taken = connection.execute(
            "update staging.loads set state = 'running', error = null, ended_at = null "
            "where load_id = %s and state in ('running', 'failed') returning load_id",
            (load_id,),
        ).fetchone()
        if taken:
            return load_id
        release_load(connection, load_id)
    return None


def abandon_interrupted(connection: psycopg.Connection, source: str) -> None:
    """Give up the loads of a source whose loaders are gone, where the next one starts anew."""
    unfinished = connection.execute(
        "select load_id from staging.loads where source = %s and state in ('running', 'failed')",
        (source,),
    ).fetchall()
    for (load_id,) in unfinished:
        if _try_lock_load(connection, load_id):
            end_load(connection, load_id, "abandoned", "it was interrupted")
            release_load(connection, load_id)


def hold_load(connection: psycopg.Connection, load_id: int) -> None:
    """Keep others from resuming the load until this transaction, which writes for it, ends."""
    connection.execute("select 1 from staging.loads where load_id = %s for share", (load_id,))


def release_load(connection: psycopg.Connection, load_id: int) -> None:
    """Release the load's advisory lock, on a connection that goes on to other loads."""
    connection.execute("select pg_advisory_unlock(%s)", (_load_key(load_id),))


def end_load(
    connection: psycopg.Connection, load_id: int, state: str, error: str | None = None
) -> None:
    """Record how a load ended: finished, failed (can be resumed) or abandoned."""
    connection.execute(
        "update staging.loads set state = %s, error = %s, ended_at = clock_timestamp() "
        "where load_id = %s",
        (state, error, load_id),
    )


def finished_load(connection: psycopg.Connection, kind: str, source: str) -> int | None:
    """Return the id of the last finished load of a source, if there is one."""
    row = connection.execute(
        "select load_id from staging.loads where kind = %s and source = %s and state = 'finished' "
        "order by load_id desc limit 1",
        (kind, source),
    ).fetchone()
    return row[0] if row else None


def state_of_segment(connection: psycopg.Connection, source: str, digest: bytes) -> str | None:
    """Return the state of the load of a segment of the spool, None if it was never loaded."""
    row = connection.execute(
        "select state from staging.loads where source = %s and head_digest = %s",
        (source, digest),
    ).fetchone()
    return row[0] if row else None


def note_failure(
    connection: psycopg.Connection, source: str, error: str, started_at: datetime
) -> None:
    """Record that nothing could be loaded from a source for some time, until now."""
    connection.execute(
        "insert into staging.loads (kind, source, head_digest, state, error, started_at, ended_at) "
        "values (%s, %s, '', 'abandoned', %s, %s, clock_timestamp())",
        (EVENTS, source, error, started_at),
    )


def counts_of(connection: psycopg.Connection, load_id: int) -> Counts:
    """Return the total counts of a load's committed batches."""
    row = connection.execute(
        "select coalesce(sum(received), 0)::bigint, coalesce(sum(accepted), 0)::bigint, "
        "coalesce(sum(duplicates), 0)::bigint, coalesce(sum(suppressed), 0)::bigint, "
        "coalesce(sum(rejected), 0)::bigint, coalesce(sum(suppressed_erased), 0)::bigint "
        "from staging.event_batches where load_id = %s",
        (load_id,),
    ).fetchone()
    return Counts(*row) if row else Counts()


def commit_batch(connection: psycopg.Connection, batch: Batch) -> int:
    """Write the batch into the ledger and return its ``batch_seq``.

    Call it near the end of a transaction: no other batch gets a number until the commit, so that
    the numbers are in commit order. After it, the caller only writes rows that need the number.
    """
    locks.take(connection, Lock.BATCH_SEQ)
    return _one(
        connection,
        "insert into staging.event_batches ("
        "batch_seq, batch_id, load_id, kind, source, chunk, start_offset, end_offset, "
        "lines_before, lines, digest, received, replayed, accepted, duplicates, suppressed, "
        "rejected, suppressed_erased, min_timestamp, max_timestamp, received_at) "
        "select coalesce(max(batch_seq), 0) + 1, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, "
        "%s, %s, %s, %s, %s, %s::timestamptz, %s::timestamptz, %s::timestamptz "
        "from staging.event_batches returning batch_seq",
        batch.batch_id, batch.load_id, batch.kind, batch.source, batch.start.chunks,
        batch.start.bytes, batch.end.bytes, batch.start.lines, batch.end.lines - batch.start.lines,
        batch.digest, 0 if batch.is_replay else batch.counts.received,
        batch.counts.received if batch.is_replay else 0,
        batch.counts.accepted, batch.counts.duplicates,
        batch.counts.suppressed, batch.counts.rejected, batch.counts.suppressed_erased,
        batch.min_timestamp, batch.max_timestamp, batch.received_at,
    )  # fmt: skip


def last_batch(connection: psycopg.Connection, load_id: int) -> LastBatch | None:
    """Return the last batch that a load has committed."""
    row = connection.execute(
        "select chunk, start_offset, lines_before, end_offset, lines_before + lines, digest "
        "from staging.event_batches where load_id = %s order by chunk desc limit 1",
        (load_id,),
    ).fetchone()
    if row is None:
        return None
    chunk, start, lines_before, end, lines_after, digest = row
    return LastBatch(
        Offset(chunk, start, lines_before), Offset(chunk + 1, end, lines_after), digest
    )


def _one(connection: psycopg.Connection, query: str, *parameters: object) -> int:
    row = connection.execute(query, parameters).fetchone()
    if row is None:
        raise RuntimeError(f"no row from: {query}")
    return row[0]


def _try_lock_load(connection: psycopg.Connection, load_id: int) -> bool:
    """Take the load's advisory lock if it is free; return whether it was.

    Nobody waits for this lock, so it need not be protected like warehouse.locks: a session that
    takes it without being the loader only causes an interrupted load to start again.
    """
    return bool(_one(connection, "select pg_try_advisory_lock(%s)", _load_key(load_id)))


def _load_key(load_id: int) -> int:
    digest = hashlib.sha256(f"warehouse load {load_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
