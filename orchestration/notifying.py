"""Who is told when a run fails, and when its job works again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg
import requests
from dagster import DagsterRunStatus, RunRecord
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from ingestion import database
from ingestion.errors import WarehouseError
from ingestion.settings import settings

# A job that goes on failing is told of again from time to time, not at every run.
TOLD_AGAIN_AFTER = timedelta(hours=1)
# Runs of a job that are looked back at for the first failure.
LOOKED_BACK_AT = 1000
TIMEOUT_SECONDS = 10
LONGEST_CAUSE = 1000

RUNNING = (
    dg.DefaultSensorStatus.RUNNING if settings().schedules_run else dg.DefaultSensorStatus.STOPPED
)

RECORD = """
    insert into warehouse.run_events (run_id, event, job, occurred_at, detail)
    values (%s, %s, %s, %s, %s)
    on conflict do nothing
"""


@dataclass(frozen=True, slots=True)
class Outage:
    """Failures of one job in a row: since when, and how many before the run that is told of."""

    since: datetime
    failures: int
    last: datetime


def outage_before(runs: list[tuple[bool, datetime]]) -> Outage | None:
    """Return the outage that the newest of a job's runs stand in, None where that succeeded.

    ``runs`` are those that have ended, the newest first: whether each failed, and when it ended.
    """
    failed = []
    for has_failed, ended in runs:
        if not has_failed:
            break
        failed.append(ended)
    return Outage(failed[-1], len(failed), failed[0]) if failed else None


def is_told(outage: Outage | None, now: datetime) -> bool:
    """Whether a failure is told of: the first one, and in each hour of an outage one more."""
    if outage is None:
        return True
    hours_before = (outage.last - outage.since) // TOLD_AGAIN_AFTER
    return (now - outage.since) // TOLD_AGAIN_AFTER > hours_before


def _outage_before(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Outage | None:
    records = instance.get_run_records(
        dg.RunsFilter(
            job_name=run.job_name,
            statuses=[DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE],
        ),
        limit=LOOKED_BACK_AT,
    )
    me = next((record for record in records if record.dagster_run.run_id == run.run_id), None)
    return outage_before(
        [
            (record.dagster_run.status == DagsterRunStatus.FAILURE, _ended(record))
            for record in records
            if record.dagster_run.run_id != run.run_id
            and (me is None or record.storage_id < me.storage_id)
        ]
    )


def _ended(record: RunRecord) -> datetime:
    return datetime.fromtimestamp(record.end_time or record.create_timestamp.timestamp(), UTC)


@dg.run_failure_sensor(
    default_status=RUNNING,
    minimum_interval_seconds=30,
    description="Posts what failed to the webhook, and keeps it in marts.warehouse_events.",
)
def failures(context: dg.RunFailureSensorContext) -> None:
    """Posts what failed to the webhook, and keeps it in `marts.warehouse_events`."""
    run = context.dagster_run
    outage = _outage_before(context.instance, run)
    now = datetime.now(UTC)
    since = outage.since if outage else now
    cause = _cause(context)
    # Told first: what is wrong may be the database that the record goes to.
    if is_told(outage, now):
        post(
            f":red_circle: {run.job_name} fails since {since:%Y-%m-%d %H:%M} UTC"
            f" ({1 + (outage.failures if outage else 0)} runs): {cause}\n{_link(run)}"
        )
    _record(run, "run_failed", now, cause)


@dg.run_status_sensor(
    run_status=DagsterRunStatus.SUCCESS,
    default_status=RUNNING,
    minimum_interval_seconds=30,
    description="Posts when a job works again that had failed.",
)
def recoveries(context: dg.RunStatusSensorContext) -> None:
    """Posts when a job works again that had failed."""
    run = context.dagster_run
    outage = _outage_before(context.instance, run)
    if outage is None:
        return
    now = datetime.now(UTC)
    detail = f"failed since {outage.since:%Y-%m-%d %H:%M} UTC, {outage.failures} runs"
    post(f":large_green_circle: {run.job_name} works again; it {detail}\n{_link(run)}")
    _record(run, "run_recovered", now, detail)


def _cause(context: dg.RunFailureSensorContext) -> str:
    """Return what failed and why; dg.Failure's own words where a step raised it."""
    causes = []
    for event in context.get_step_failure_events():
        data = event.step_failure_data
        words = data.user_failure_data.description if data.user_failure_data else None
        error = data.error.cause or data.error if data.error else None
        causes.append(
            f"{event.step_key}: {words or (error and error.message) or 'no reason given'}"
        )
    text = "; ".join(causes) or context.failure_event.message or "no reason given"
    return " ".join(text.split())[:LONGEST_CAUSE]


def _link(run: dg.DagsterRun) -> str:
    return f"{settings().dagster_url.rstrip('/')}/runs/{run.run_id}"


def _record(run: dg.DagsterRun, event: str, at: datetime, detail: str) -> None:
    with database.connect(application_name="warehouse dagster") as connection:
        connection.execute(RECORD, (run.run_id, event, run.job_name, at, detail))


class WebhookError(WarehouseError):
    """The webhook did not take a message."""


def post(text: str) -> None:
    """Post a message to the webhook, if one is set, as Slack takes it. Raises WebhookError."""
    webhook = settings().alert_webhook
    if webhook is None:
        return
    with requests.Session() as session:
        again = Retry(total=3, backoff_factor=1, status_forcelist=[429, 500, 502, 503, 504],
                      allowed_methods=None)  # fmt: skip
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=again))
        try:
            session.post(
                webhook.get_secret_value(), json={"text": text}, timeout=TIMEOUT_SECONDS
            ).raise_for_status()
        except requests.RequestException as error:
            # The address is a secret, and an error of requests names it.
            raise WebhookError(
                f"WAREHOUSE_ALERT_WEBHOOK did not take a message: {type(error).__name__}."
            ) from None


SENSORS = [failures, recoveries]
