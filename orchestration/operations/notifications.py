"""Notifications: what is reported to people, in which text, and when (webhooks.py: how).

A notification is committed together with the events that it reports. One that the webhook does not
accept stays in ``warehouse.notifications`` and is posted by a later run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime, timedelta

import msgspec
import psycopg

from orchestration.operations.webhooks import Message, Severity, Subject, post_to_webhook
from warehouse import database, locks
from warehouse.locks import Lock
from warehouse.settings import settings
from warehouse.sql_files import read_sql

# A failure that persists is notified once in each such period, not at every run.
NOTIFY_AGAIN_AFTER = timedelta(hours=1)
# A post lists no more items than this, and counts the rest.
MOST_LISTED = 5
# The digest of a day is posted by the first run of the monitoring checks from this hour on, UTC.
DIGEST_HOUR = 8

RECORD = """
    insert into warehouse.run_events (run_id, event, job, detail, occurred_at)
    values (%s, %s, %s, %s, clock_timestamp())
    on conflict do nothing
"""

LAST_NOTIFIED = """
    select max(e.occurred_at) from warehouse.run_events as e
    where e.event = 'run_failed' and e.notification_id is not null and e.run_id = any(%s)
"""

FAILING = read_sql(__file__, "failing_since")
OPEN_PROBLEMS = read_sql(__file__, "open_problems")
HAS_DIGEST = read_sql(__file__, "has_digest")


@dataclass(frozen=True, slots=True)
class RunEvent:
    """A row of ``warehouse.run_events``; ``job`` names the job, check or file that it is about."""

    run_id: str
    event: str
    job: str
    detail: str


@dataclass(frozen=True, slots=True)
class Outage:
    """The failed runs of a job since its last success: when the first one ended, and how many."""

    since: datetime
    runs: int


def _count_runs(outage: Outage) -> str:
    return f"{outage.runs} run{'' if outage.runs == 1 else 's'}"


def run_failed(run_id: str, job: str, outage: Outage, cause: str) -> Message:
    """Return the notification of a run that failed."""
    since = format_time(outage.since)
    title = f"{job} has been failing since {since} ({_count_runs(outage)}): {cause}"
    return Message(Severity.ERROR, title, [_job(job, outage)], run_link(run_id))


def run_recovered(run_id: str, job: str, outage: Outage) -> Message:
    """Return the notification of the first run of a job that succeeded after an outage."""
    title = f"{job} works again: it {outage_text(outage)}"
    return Message(Severity.RECOVERED, title, [_job(job, outage)], run_link(run_id))


def _job(job: str, outage: Outage) -> Subject:
    return Subject(f"job {job}", outage.since)


def outage_text(outage: Outage) -> str:
    """Return what is said of an outage that is over."""
    return f"had failed since {format_time(outage.since)} ({_count_runs(outage)})"


def checks_failed(run_id: str, failed: Mapping[str, tuple[datetime, str]]) -> Message:
    """Return the notification of checks that fail: since when each does, and what is wrong."""
    subjects = [
        Subject(f"check {check}", at, f"{check}, since {format_time(at)}: {wrong}")
        for check, (at, wrong) in failed.items()
    ]
    return Message(Severity.ERROR, "Checks failed:", subjects, run_link(run_id))


def checks_recovered(run_id: str, failed_since: Mapping[str, datetime]) -> Message:
    """Return the notification of checks that pass again, and since when each had failed."""
    subjects = [
        Subject(f"check {check}", at, f"{check}, failed since {format_time(at)}")
        for check, at in failed_since.items()
    ]
    return Message(Severity.RECOVERED, "Checks pass again:", subjects, run_link(run_id))


def file_quarantined(run_id: str, file: str, error: str) -> Message:
    """Return the notification of a dropped file that could not be loaded."""
    title = f"{one_line(file)} can't be loaded and was moved to failed/: {one_line(error)}"
    return Message(Severity.WARNING, title, [Subject(f"file {file}")], run_link(run_id))


def digest(open_problems: Sequence[tuple[str, datetime]]) -> Message:
    """Return the notification of all that is open: what it is, and since when."""
    listed = open_problems[:MOST_LISTED]
    subjects = [Subject(what, at, f"{what}, since {format_time(at)}") for what, at in listed]
    more = len(open_problems) - len(listed)
    if more:
        subjects.append(Subject("more", None, f"and {more:,} more"))
    return Message(Severity.DIGEST, "Still open today:", subjects, settings().dagster_url)


def shorten_list(items: Sequence[str]) -> str:
    """Return the first items as a text, and how many more there are."""
    more = len(items) - MOST_LISTED
    return ", ".join(items[:MOST_LISTED]) + (f" and {more} more" if more > 0 else "")


def one_line(text: str) -> str:
    """Return a text without line breaks."""
    return " ".join(text.split())


def format_time(at: datetime) -> str:
    """Return an instant as notifications show it: to the minute, in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def run_link(run_id: str) -> str:
    """Return the address of a run in Dagster's UI."""
    return f"{settings().dagster_url.rstrip('/')}/runs/{run_id}"


def should_notify(since: datetime, last_notified: datetime | None, now: datetime) -> bool:
    """Return whether to notify of a failure: at first, and then once in each hour of the outage.

    ``last_notified`` is None where nobody was notified of this outage yet.
    """
    if last_notified is None:
        return True
    return (now - since) // NOTIFY_AGAIN_AFTER > (last_notified - since) // NOTIFY_AGAIN_AFTER


def last_notified_at(connection: psycopg.Connection, runs: Sequence[str]) -> datetime | None:
    """Return when the failure of one of these runs was last notified, or None."""
    row = connection.execute(LAST_NOTIFIED, (list(runs),)).fetchone()
    return row and row[0]


def note_events(
    connection: psycopg.Connection, events: Sequence[RunEvent], message: Message | None
) -> None:
    """Record events and the notification of them, if any, in one transaction.

    Events that are recorded already are skipped, and nothing is notified where all of them are.
    """
    with connection.transaction():
        new = [one for one in events if connection.execute(RECORD, astuple(one)).rowcount]
        if not new or not message or settings().alert_webhook is None:
            return
        inserted = connection.execute(
            "insert into warehouse.notifications (content) values (%s) returning notification_id",
            (msgspec.json.encode(message).decode(),),
        ).fetchone()
        connection.cursor().executemany(
            "update warehouse.run_events set notification_id = %s "
            "where run_id = %s and event = %s and job = %s",
            [(*(inserted or ()), one.run_id, one.event, one.job) for one in new],
        )


def note_checks(run_id: str, problems: Mapping[str, Sequence[str]]) -> None:
    """Record which monitoring checks fail and which have recovered, with one notification each.

    ``problems`` maps each check that ran to what it found, and to nothing where it passed. A check
    that keeps failing is recorded once an hour.
    """
    now = datetime.now(UTC)
    with database.connect(autocommit=True, application_name="warehouse dagster") as connection:
        failing = {check: times for check, *times in connection.execute(FAILING)}
        failed: dict[str, tuple[datetime, str]] = {}
        recovered: dict[str, datetime] = {}
        for check, found in problems.items():
            since, last_notified = failing.get(check, (now, None))
            if found and should_notify(since, last_notified, now):
                failed[check] = (since, shorten_list(found))
            elif not found and check in failing:
                recovered[check] = since
        note_events(
            connection,
            [
                RunEvent(run_id, "check_failed", check, wrong)
                for check, (_, wrong) in failed.items()
            ],
            checks_failed(run_id, failed) if failed else None,
        )
        note_events(
            connection,
            [
                RunEvent(run_id, "check_recovered", check, f"failed since {format_time(since)}")
                for check, since in recovered.items()
            ],
            checks_recovered(run_id, recovered) if recovered else None,
        )


def note_quarantined_file(run_id: str, file: str, error: str) -> None:
    """Record and notify that a dropped file could not be loaded."""
    with database.connect(autocommit=True, application_name="warehouse dagster") as connection:
        note_events(
            connection,
            [RunEvent(run_id, "file_quarantined", file, error)],
            file_quarantined(run_id, file, error),
        )


def note_digest(now: datetime) -> None:
    """Write the day's digest of what is open, if it is due, not written yet, and not empty."""
    if now.hour < DIGEST_HOUR or settings().alert_webhook is None:
        return
    with (
        locks.held(Lock.NOTIFICATIONS),
        database.connect(autocommit=True, application_name="warehouse dagster") as connection,
    ):
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        written = connection.execute(
            HAS_DIGEST, {"severity": Severity.DIGEST, "since": midnight}
        ).fetchone()
        found = connection.execute(OPEN_PROBLEMS).fetchall()
        if written == (False,) and found:
            connection.execute(
                "insert into warehouse.notifications (content) values (%s)",
                (msgspec.json.encode(digest(found)).decode(),),
            )


def send_pending() -> None:
    """Post the notifications that are not sent yet, the oldest first.

    Raises WebhookError where the webhook does not accept one; that one and later ones stay pending.
    """
    if settings().alert_webhook is None:
        return
    with (
        # One sender at a time, so that none is posted twice, nor a recovery before its failure.
        locks.held(Lock.NOTIFICATIONS),
        database.connect(autocommit=True, application_name="warehouse dagster") as connection,
    ):
        pending = connection.execute(
            "select notification_id, content from warehouse.notifications "
            "where sent_at is null order by notification_id"
        )
        for notification_id, content in pending.fetchall():
            post_to_webhook(msgspec.convert(content, Message, strict=False))
            connection.execute(
                "update warehouse.notifications set sent_at = clock_timestamp() "
                "where notification_id = %s",
                (notification_id,),
            )
