"""Deletes what is older than its retention period: raw events by the month, salts and more."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime

import psycopg

from ingestion.privacy import visitors
from ingestion.privacy.erasures import wait_for_loaders
from ingestion.sources.drop_folder import expire_files
from orchestration.operations.build import DBT_PROJECT
from warehouse import database
from warehouse.locks import LockError
from warehouse.settings import settings

# As the contract promises to those whose lines were refused. A dropped file holds the same lines.
PAYLOAD_DAYS = 30

# As the contract promises to those who look back at figures that have changed.
RESTATEMENT_DAYS = 400

# As long as the raw events of a year that had them, and a month: names may hold anything.
UNKNOWN_MEMBER_DAYS = 400

# Dropping a month needs raw events for itself: what would read them or land queues up behind it,
# for no longer than this, and goes on in the pause.
LOCK_TIMEOUT = "2s"
PAUSE_SECONDS = 2
TRIES = 5


@dataclass(frozen=True, slots=True)
class Month:
    """A month of raw events that is older than the period; ``kept`` says why it stays."""

    month: date
    events: int
    kept: str | None


@dataclass(frozen=True, slots=True)
class Expired:
    """What expiry deleted, or would delete. Months that ended before ``cutoff`` are too old."""

    dry_run: bool
    cutoff: datetime
    months: list[Month]
    salts: int
    payloads: int
    dropped_files: int
    restatements: int
    unknown_members: int


def expire(days: int | None = None, dry_run: bool = False) -> Expired:
    """Delete raw events of months older than ``days``, and all else that is past its period.

    Without ``days`` the setting counts. A month stays until every typed fact has read
    all of it, and marts look from after its end. Each month is a transaction of its own.
    """
    with database.connect(autocommit=True, application_name="warehouse expire") as connection:
        cutoff, months = _old_months(connection, days or settings().retention_days)
        consumed, why = _consumed(connection)
        done = [_drop(connection, month, consumed, why, dry_run) for month in months]
        # In a transaction of its own, which a dry run takes back.
        with connection.transaction(force_rollback=dry_run):
            salts = visitors.destroy_salts(connection)
            payloads = connection.execute(
                "update staging.rejected_events set payload = '', detail = '', expired_at = now() "
                "where expired_at is null and received_at < now() - make_interval(days => %s)",
                (PAYLOAD_DAYS,),
            ).rowcount
            restatements = connection.execute(
                "delete from warehouse.restatements "
                "where restated_at < now() - make_interval(days => %s)",
                (RESTATEMENT_DAYS,),
            ).rowcount
            unknown_members = connection.execute(
                "delete from staging.unknown_members as u using staging.event_batches as b "
                "where u.batch_seq = b.batch_seq "
                "and b.received_at < now() - make_interval(days => %s)",
                (UNKNOWN_MEMBER_DAYS,),
            ).rowcount
        if not dry_run:
            # What is gone stays neither in dead rows nor among what the planner remembers.
            connection.execute(
                "vacuum (analyze) staging.visitor_salts, staging.rejected_events, "
                "warehouse.restatements, staging.unknown_members"
            )
    files = expire_files(settings().drop, PAYLOAD_DAYS, dry_run)
    return Expired(dry_run, cutoff, done, salts, payloads, files, restatements, unknown_members)


def _old_months(
    connection: psycopg.Connection, days: int
) -> tuple[datetime, list[tuple[date, datetime, datetime]]]:
    """Return the cutoff, and the months with raw events that ended before it: start and end."""
    cutoff = connection.execute("select now() - make_interval(days => %s)", (days,)).fetchone()
    months = connection.execute(
        "select p.month, p.month::timestamp at time zone 'utc', "
        "(p.month + interval '1 month') at time zone 'utc' from ("
        "select to_date(right(c.relname, 7), 'YYYY_MM') as month from pg_inherits as i "
        "inner join pg_class as c on i.inhrelid = c.oid "
        "where i.inhparent = 'staging.raw_events'::regclass) as p "
        "where (p.month + interval '1 month') at time zone 'utc' <= %s order by p.month",
        cutoff,
    ).fetchall()
    if cutoff is None:
        raise RuntimeError("the database does not know the time")
    return cutoff[0], months


def _consumed(connection: psycopg.Connection) -> tuple[int, str | None]:
    """Return the batch up to which every typed fact has read, or why that can't be said."""
    facts = typed_facts()
    row = connection.execute(
        "select count(*), coalesce(min(batch_seq), 0) from warehouse.model_offsets "
        "where model = any(%s)",
        (facts,),
    ).fetchone()
    if row is None or row[0] < len(facts):
        return 0, "not every typed fact is built"
    return row[1], None


def typed_facts() -> list[str]:
    """Return the names of the typed facts, built or not."""
    folder = DBT_PROJECT / "models" / "intermediate" / "facts"
    return sorted(path.stem for path in folder.glob("*.sql"))


def _drop(
    connection: psycopg.Connection,
    month: tuple[date, datetime, datetime],
    consumed: int,
    why: str | None,
    dry_run: bool,
) -> Month:
    start, *span = month
    row = connection.execute(
        "select count(*), warehouse.last_as_of() >= %s from staging.raw_events "
        'where "timestamp" >= %s and "timestamp" < %s',
        (span[1], *span),
    ).fetchone()
    events, is_past = row or (0, False)
    if why is None and not is_past:
        why = "marts look from before its end"
    if why is None:
        why = _drop_now(connection, start, consumed, dry_run)
    return Month(start, events, why)


def _drop_now(
    connection: psycopg.Connection, month: date, consumed: int, dry_run: bool
) -> str | None:
    """Drop a month; return why it stays, if it does."""
    for attempt in range(TRIES):
        if attempt:
            time.sleep(PAUSE_SECONDS)
        with (
            suppress(psycopg.errors.LockNotAvailable, LockError),
            connection.transaction(force_rollback=dry_run),
        ):
            connection.execute("select set_config('lock_timeout', %s, true)", (LOCK_TIMEOUT,))
            wait_for_loaders(connection)
            row = connection.execute(
                "select staging.drop_raw_month(%s, %s)", (month, consumed)
            ).fetchone()
            is_dropped = row is not None and row[0] is not None
            return None if is_dropped else "typed facts have not read all of it"
    return "a load, build or query uses raw events: run `warehouse expire` again when it has ended"
