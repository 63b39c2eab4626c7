"""The ledger: loads, and the batches that they commit, numbered in commit order."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

import psycopg

from ingestion.load.chunks import Place
from warehouse import locks
from warehouse.locks import Lock

EVENTS = "events"
ERASURE = "erasure"


@dataclass(frozen=True, slots=True)
class LastBatch:
    """The last chunk that a load has committed: where it started and ended, and its digest."""

    start: Place
    end: Place
    digest: bytes


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of some lines: ``received`` is the sum of the next four.

    ``suppressed_erased`` are those of the suppressed ones that are of erased subjects.
    """

    received: int = 0
    accepted: int = 0
    duplicates: int = 0
    suppressed: int = 0
    rejected: int = 0
    suppressed_erased: int = 0

    def __add__(self, other: Counts) -> Counts:
        """Add up, count by count."""
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
    """One batch as the ledger keeps it. Timestamps are of the accepted events."""

    batch_id: int
    load_id: int
    kind: str
    source: str
    start: Place
    end: Place
    digest: bytes
    received_at: datetime
    counts: Counts
    min_timestamp: datetime | None = None
    max_timestamp: datetime | None = None


def next_batch_id(connection: psycopg.Connection) -> int:
    """Draw the number that a batch's rows carry."""
    return _one(connection, "select nextval('staging.batch_ids')")


def start_load(connection: psycopg.Connection, kind: str, source: str, head_digest: bytes) -> int:
    """Start a new load and return its id.

    Until ``connection``, which must be in autocommit, closes, however that happens, it shows that
    the load's loader lives.
    """
    with connection.transaction():
        load_id = _one(
            connection,
            "insert into staging.loads (kind, source, head_digest) values (%s, %s, %s) "
            "returning load_id",
            kind, source, head_digest,
        )  # fmt: skip
        _show_that_it_lives(connection, load_id)
    return load_id


def take_up_load(
    connection: psycopg.Connection, kind: str, source: str, head_digest: bytes
) -> int | None:
    """Resume the interrupted load of this source, if there is one whose loader does not live.

    Returns its id. Waits until the server is done with the last that a killed loader sent it, a
    commit perhaps: only then is it sure which batch was the load's last.
    """
    unfinished = connection.execute(
        "select load_id from staging.loads where kind = %s and source = %s and head_digest = %s "
        "and state in ('running', 'failed') order by load_id",
        (kind, source, head_digest),
    ).fetchall()
    for (load_id,) in unfinished:
        if not _show_that_it_lives(connection, load_id):
            continue
        taken = connection.execute(
            "update staging.loads set state = 'running', error = null, ended_at = null "
            "where load_id = %s and state in ('running', 'failed') returning load_id",
            (load_id,),
        ).fetchone()
        if taken:
            return load_id
        connection.execute("select pg_advisory_unlock(%s)", (_load_key(load_id),))
    return None


def hold_load(connection: psycopg.Connection, load_id: int) -> None:
    """Keep others from resuming the load until the end of this transaction, which writes for it."""
    connection.execute("select from staging.loads where load_id = %s for share", (load_id,))


def end_load(
    connection: psycopg.Connection, load_id: int, state: str, error: str | None = None
) -> None:
    """Note how a load ended: finished, failed (to be taken up again) or abandoned."""
    connection.execute(
        "update staging.loads set state = %s, error = %s, ended_at = clock_timestamp() "
        "where load_id = %s",
        (state, error, load_id),
    )


def finished_load(connection: psycopg.Connection, kind: str, source: str) -> int | None:
    """Return the id of the last load of a source that came to its end, if there is one."""
    row = connection.execute(
        "select load_id from staging.loads where kind = %s and source = %s and state = 'finished' "
        "order by load_id desc limit 1",
        (kind, source),
    ).fetchone()
    return row[0] if row else None


def counts_of(connection: psycopg.Connection, load_id: int) -> Counts:
    """Add up a load's committed batches."""
    row = connection.execute(
        "select coalesce(sum(received), 0)::bigint, coalesce(sum(accepted), 0)::bigint, "
        "coalesce(sum(duplicates), 0)::bigint, coalesce(sum(suppressed), 0)::bigint, "
        "coalesce(sum(rejected), 0)::bigint, coalesce(sum(suppressed_erased), 0)::bigint "
        "from staging.event_batches where load_id = %s",
        (load_id,),
    ).fetchone()
    return Counts(*row) if row else Counts()


def commit_batch(connection: psycopg.Connection, batch: Batch) -> int:
    """Write the ledger's row, one of the transaction's last acts, and return its ``batch_seq``.

    From the lock to the commit no other batch can take a number: so numbers are in commit order.
    What carries the number is written by the caller right after, and then the commit follows.
    """
    locks.take(connection, Lock.BATCH_SEQ)
    return _one(
        connection,
        "insert into staging.event_batches ("
        "batch_seq, batch_id, load_id, kind, source, chunk, start_offset, end_offset, "
        "lines_before, lines, digest, received, accepted, duplicates, suppressed, rejected, "
        "suppressed_erased, min_timestamp, max_timestamp, received_at) "
        "select coalesce(max(batch_seq), 0) + 1, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, "
        "%s, %s, %s, %s, %s::timestamptz, %s::timestamptz, %s::timestamptz "
        "from staging.event_batches returning batch_seq",
        batch.batch_id, batch.load_id, batch.kind, batch.source, batch.start.chunks,
        batch.start.bytes, batch.end.bytes, batch.start.lines, batch.end.lines - batch.start.lines,
        batch.digest, batch.counts.received, batch.counts.accepted, batch.counts.duplicates,
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
    return LastBatch(Place(chunk, start, lines_before), Place(chunk + 1, end, lines_after), digest)


def _one(connection: psycopg.Connection, query: str, *parameters: object) -> int:
    row = connection.execute(query, parameters).fetchone()
    if row is None:
        raise RuntimeError(f"no row from: {query}")
    return row[0]


def _show_that_it_lives(connection: psycopg.Connection, load_id: int) -> bool:
    """Take the load's advisory lock; return whether it was free.

    Nobody waits for it: who takes it without being the loader only keeps a killed load from being
    resumed, so that it is loaded from its start.
    """
    return bool(_one(connection, "select pg_try_advisory_lock(%s)", _load_key(load_id)))


def _load_key(load_id: int) -> int:
    digest = hashlib.sha256(f"warehouse load {load_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
