"""Notifications: every text that is posted to the webhook, when it is posted, and how.

A notification is committed together with the events that it reports. One that the webhook does not
accept stays in ``warehouse.notifications`` and is posted by a later run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime, timedelta

import psycopg
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from warehouse import database, locks
from warehouse.errors import WarehouseError
from warehouse.locks import Lock
from warehouse.settings import settings
from warehouse.sql_files import read_sql

# A failure that persists is notified once in each such period, not at every run.
NOTIFY_AGAIN_AFTER = timedelta(hours=1)
TIMEOUT_SECONDS = 10
BACKOFF_SECONDS = 1
# A post lists no more items than this, and counts the rest.
MOST_LISTED = 5

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


def run_failed_text(run_id: str, job: str, outage: Outage, cause: str) -> str:
    """Return the text for a run that failed."""
    since = format_time(outage.since)
    return (
        f":red_circle: {job} has been failing since {since} ({_count_runs(outage)}): {cause}\n"
        f"{run_link(run_id)}"
    )


def run_recovered_text(run_id: str, job: str, outage: Outage) -> str:
    """Return the text for the first run of a job that succeeded after an outage."""
    return f":large_green_circle: {job} works again: it {outage_text(outage)}\n{run_link(run_id)}"


def outage_text(outage: Outage) -> str:
    """Return what is said of an outage that is over."""
    return f"had failed since {format_time(outage.since)} ({_count_runs(outage)})"


def checks_failed_text(run_id: str, failed: Mapping[str, tuple[datetime, str]]) -> str:
    """Return the text for checks that fail; ``failed`` gives since when, and what is wrong."""
    lines = [f"{check}, since {format_time(at)}: {wrong}" for check, (at, wrong) in failed.items()]
    return "\n".join([":red_circle: Checks failed:", *lines, run_link(run_id)])


def checks_recovered_text(run_id: str, failed_since: Mapping[str, datetime]) -> str:
    """Return the text for checks that pass again."""
    lines = [f"{check}, failed since {format_time(at)}" for check, at in failed_since.items()]
    return "\n".join([":large_green_circle: Checks pass again:", *lines, run_link(run_id)])


def file_quarantined_text(run_id: str, file: str, error: str) -> str:
    """Return the text for a dropped file that could not be loaded."""
    return (
        f":warning: {one_line(file)} can't be loaded and was moved to failed/: {one_line(error)}\n"
        f"{run_link(run_id)}"
    )


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
    connection: psycopg.Connection, events: Sequence[RunEvent], text: str | None
) -> None:
    """Record events and the notification of them, if any, in one transaction.

    Events that are recorded already are skipped, and nothing is notified where all of them are.
    """
    with connection.transaction():
        new = [one for one in events if connection.execute(RECORD, astuple(one)).rowcount]
        if not new or not text or settings().alert_webhook is None:
            return
        inserted = connection.execute(
            "insert into warehouse.notifications (content) values (%s) returning notification_id",
            (text,),
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
            checks_failed_text(run_id, failed),
        )
        note_events(
            connection,
            [
                RunEvent(run_id, "check_recovered", check, f"failed since {format_time(since)}")
                for check, since in recovered.items()
            ],
            checks_recovered_text(run_id, recovered),
        )


def note_quarantined_file(run_id: str, file: str, error: str) -> None:
    """Record and notify that a dropped file could not be loaded."""
    with database.connect(autocommit=True, application_name="warehouse dagster") as connection:
        note_events(
            connection,
            [RunEvent(run_id, "file_quarantined", file, error)],
            file_quarantined_text(run_id, file, error),
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
            post_to_webhook(content)
            connection.execute(
                "update warehouse.notifications set sent_at = clock_timestamp() "
                "where notification_id = %s",
                (notification_id,),
            )


class WebhookError(WarehouseError):
    """The webhook did not accept a message."""


def post_to_webhook(text: str) -> None:
    """Post a message in Slack's format, if a webhook is set. Raises WebhookError."""
    webhook = settings().alert_webhook
    if webhook is None:
        return
    # Slack reads <!channel> as a mention of everybody, even in the name of a file.
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    with requests.Session() as session:
        retries = Retry(
            total=3,
            backoff_factor=BACKOFF_SECONDS,
            status_forcelist=[429, 500, 502, 503, 504],
            allowed_methods=None,
        )
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=retries))
        try:
            session.post(
                webhook.get_secret_value(), json={"text": escaped}, timeout=TIMEOUT_SECONDS
            ).raise_for_status()
        except requests.RequestException as error:
            # The address is a secret, and requests quotes it in its errors.
            raise WebhookError(
                f"WAREHOUSE_ALERT_WEBHOOK did not accept a message: {type(error).__name__}."
            ) from None
