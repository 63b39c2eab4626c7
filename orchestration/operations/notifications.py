"""Notifications: written together with what happened, then posted to the webhook.

One that the webhook does not accept waits in ``warehouse.notifications`` for the next run.
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

# What goes on failing is told of again from time to time, not at every run.
TOLD_AGAIN_AFTER = timedelta(hours=1)
TIMEOUT_SECONDS = 10
BACKOFF_SECONDS = 1
# Of a long list a post names the first ones.
MOST_LISTED = 5

RECORD = """
    insert into warehouse.run_events (run_id, event, job, detail, occurred_at)
    values (%s, %s, %s, %s, clock_timestamp())
    on conflict do nothing
"""

LAST_TOLD = """
    select max(e.occurred_at) from warehouse.run_events as e
    where e.event = 'run_failed' and e.notification_id is not null and e.run_id = any(%s)
"""

# Checks that have failed and not recovered: since when, and when they were told of last.
FAILING = """
    select e.job, min(e.occurred_at), max(e.occurred_at)
    from warehouse.run_events as e
    where e.event = 'check_failed' and not exists (
        select from warehouse.run_events as r
        where r.event = 'check_recovered' and r.job = e.job and r.occurred_at > e.occurred_at
    )
    group by e.job
"""


@dataclass(frozen=True, slots=True)
class Happened:
    """What is kept of a run in ``warehouse.run_events``; ``of`` is its job, a check or a file."""

    run_id: str
    event: str
    of: str
    detail: str


def is_told(since: datetime, last: datetime | None, now: datetime) -> bool:
    """Whether a failure is told of: the first one, and in each hour of an outage one more.

    ``last`` is when it was told of last, None where it was not.
    """
    if last is None:
        return True
    return (now - since) // TOLD_AGAIN_AFTER > (last - since) // TOLD_AGAIN_AFTER


def last_told(connection: psycopg.Connection, runs: Sequence[str]) -> datetime | None:
    """Return when people were told last of the failure of one of these runs."""
    row = connection.execute(LAST_TOLD, (list(runs),)).fetchone()
    return row and row[0]


def note(connection: psycopg.Connection, happened: Sequence[Happened], post: str | None) -> None:
    """Write down what happened, and what people are told of it, if anything: both, or neither."""
    with connection.transaction():
        new = [one for one in happened if connection.execute(RECORD, astuple(one)).rowcount]
        if not new or not post or settings().alert_webhook is None:
            return
        written = (
            "insert into warehouse.notifications (content) values (%s) returning notification_id"
        )
        notification_id = connection.execute(written, (post,)).fetchone()
        connection.cursor().executemany(
            "update warehouse.run_events set notification_id = %s "
            "where run_id = %s and event = %s and job = %s",
            [(*(notification_id or ()), one.run_id, one.event, one.of) for one in new],
        )


def note_checks(run_id: str, found: Mapping[str, Sequence[str]]) -> None:
    """Write down which checks of the watch fail, and which do no more; one post for all that do.

    ``found`` holds by check the words on what is wrong, none where it is right. A check that goes
    on failing is noted once an hour.
    """
    now = datetime.now(UTC)
    with database.connect(autocommit=True, application_name="warehouse dagster") as connection:
        failing = {of: told for of, *told in connection.execute(FAILING)}
        failed, lines = [], []
        for of, wrong in found.items():
            since, last = failing.get(of, (now, None))
            if wrong and is_told(since, last, now):
                failed.append(Happened(run_id, "check_failed", of, listed(wrong)))
                lines.append(f"{of}, since {shown(since)}: {listed(wrong)}")
        post = "\n".join([":red_circle: Not as it should be:", *lines, link(run_id)])
        note(connection, failed, post)
        right = {of: failing[of][0] for of, wrong in found.items() if of in failing and not wrong}
        lines = [f"{of}, wrong since {shown(since)}" for of, since in right.items()]
        post = "\n".join([":large_green_circle: As it should be again:", *lines, link(run_id)])
        note(
            connection,
            [
                Happened(run_id, "check_recovered", of, f"failed since {shown(since)}")
                for of, since in right.items()
            ],
            post,
        )


def note_set_aside(run_id: str, file: str, error: str) -> None:
    """Write down, and tell, that a dropped file could not be loaded."""
    with database.connect(autocommit=True, application_name="warehouse dagster") as connection:
        note(
            connection,
            [Happened(run_id, "file_quarantined", file, error)],
            f":warning: {one_line(file)} can't be loaded and lies in failed/: {one_line(error)}\n"
            f"{link(run_id)}",
        )


def listed(words: Sequence[str]) -> str:
    """Return the first of some words, and how many more there are."""
    more = len(words) - MOST_LISTED
    return ", ".join(words[:MOST_LISTED]) + (f" and {more} more" if more > 0 else "")


def one_line(text: str) -> str:
    """Return a text without line breaks."""
    return " ".join(text.split())


def shown(at: datetime) -> str:
    """Return an instant as posts show it."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def link(run_id: str) -> str:
    """Return where Dagster's UI shows a run."""
    return f"{settings().dagster_url.rstrip('/')}/runs/{run_id}"


def send() -> None:
    """Post what waits, the oldest first. Raises WebhookError where it is not taken; it waits on."""
    if settings().alert_webhook is None:
        return
    with (
        # One at a time: none is posted twice, nor a recovery before its failure.
        locks.held(Lock.NOTIFICATIONS),
        database.connect(autocommit=True, application_name="warehouse dagster") as connection,
    ):
        waiting = connection.execute(
            "select notification_id, content from warehouse.notifications "
            "where sent_at is null order by notification_id"
        )
        for notification_id, content in waiting.fetchall():
            post(content)
            connection.execute(
                "update warehouse.notifications set sent_at = clock_timestamp() "
                "where notification_id = %s",
                (notification_id,),
            )


class WebhookError(WarehouseError):
    """The webhook did not take a message."""


def post(text: str) -> None:
    """Post a message to the webhook, if one is set, as Slack takes it. Raises WebhookError."""
    webhook = settings().alert_webhook
    if webhook is None:
        return
    # Slack reads <!channel> as a call to everybody, be it the name of a file.
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    with requests.Session() as session:
        again = Retry(
            total=3,
            backoff_factor=BACKOFF_SECONDS,
            status_forcelist=[429, 500, 502, 503, 504],
            allowed_methods=None,
        )
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=again))
        try:
            session.post(
                webhook.get_secret_value(), json={"text": escaped}, timeout=TIMEOUT_SECONDS
            ).raise_for_status()
        except requests.RequestException as error:
            # The address is a secret, and an error of requests names it.
            raise WebhookError(
                f"WAREHOUSE_ALERT_WEBHOOK did not take a message: {type(error).__name__}."
            ) from None
