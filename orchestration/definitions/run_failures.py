"""Sensors that notify people when a run fails, and when its job succeeds again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile

import dagster as dg
import psycopg
from dagster import DagsterRunStatus, RunRecord

from orchestration.definitions.default_status import SENSOR_STATUS
from orchestration.operations.notifications import (
    Outage,
    RunEvent,
    last_notified_at,
    note_events,
    one_line,
    outage_text,
    run_failed,
    run_recovered,
    send_pending,
    shorten_list,
    should_notify,
)
from orchestration.operations.webhooks import post_to_webhook
from warehouse import database

# How many of a job's runs are searched for its last success.
MOST_RUNS_SEARCHED = 1000
LONGEST_CAUSE = 1000
# Dagster's name for the job of all runs that people start from assets.
ASSET_JOB = "__ASSET_JOB"


@dataclass(frozen=True, slots=True)
class EndedRun:
    """A run that has ended."""

    run_id: str
    has_failed: bool
    ended_at: datetime


def failures_since_success(runs: Iterable[EndedRun]) -> list[EndedRun]:
    """Return the runs that failed after the last success, the newest first as in ``runs``."""
    return list(takewhile(lambda run: run.has_failed, runs))


def _failures_before(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[EndedRun]:
    """Return the failures that directly precede a run of the same job, the newest first."""
    records = instance.get_run_records(
        dg.RunsFilter(
            job_name=run.job_name,
            statuses=[DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE],
        ),
        limit=MOST_RUNS_SEARCHED,
    )
    own = next((record for record in records if record.dagster_run.run_id == run.run_id), None)
    return failures_since_success(
        _ended_run(record)
        for record in records
        if record.dagster_run.run_id != run.run_id
        and (own is None or record.storage_id < own.storage_id)
        # Runs from assets share one job. A success of some assets says nothing about others.
        and (run.job_name != ASSET_JOB or _selected(record.dagster_run) == _selected(run))
    )


def _ended_run(record: RunRecord) -> EndedRun:
    run = record.dagster_run
    at = datetime.fromtimestamp(record.end_time or record.create_timestamp.timestamp(), UTC)
    return EndedRun(run.run_id, run.status == DagsterRunStatus.FAILURE, at)


def _selected(run: dg.DagsterRun) -> list[str]:
    """Return the assets that a run was started for, or its checks where it has no assets."""
    assets = [key.path[-1] for key in run.asset_selection or ()]
    checks = [f"{key.asset_key.path[-1]}: {key.name}" for key in run.asset_check_selection or ()]
    return sorted(assets or checks)


def _job_name(run: dg.DagsterRun) -> str:
    if run.job_name != ASSET_JOB:
        return run.job_name
    return f"a run of {shorten_list(_selected(run)) or 'assets'}"


@dg.run_failure_sensor(
    default_status=SENSOR_STATUS,
    minimum_interval_seconds=30,
    description="Records failed runs in marts.warehouse_events and posts them to the webhook.",
)
def failures(context: dg.RunFailureSensorContext) -> None:
    """Record failed runs in `marts.warehouse_events` and post them to the webhook."""
    run = context.dagster_run
    before = _failures_before(context.instance, run)
    now = datetime.now(UTC)
    outage = Outage(since=before[-1].ended_at if before else now, runs=1 + len(before))
    cause = _cause(context)
    message = run_failed(run.run_id, _job_name(run), outage, cause)
    try:
        with database.connect(autocommit=True, application_name="warehouse dagster") as connection:
            last_notified = last_notified_at(connection, [one.run_id for one in before])
            note_events(
                connection,
                [RunEvent(run.run_id, "run_failed", _job_name(run), cause)],
                message if should_notify(outage.since, last_notified, now) else None,
            )
    except (database.DatabaseError, psycopg.Error):
        # The database may be the cause. People are notified without it, and each failure before
        # this one counts as notified.
        if should_notify(outage.since, before[0].ended_at if before else None, now):
            post_to_webhook(message)
        raise
    send_pending()


@dg.run_status_sensor(
    run_status=DagsterRunStatus.SUCCESS,
    default_status=SENSOR_STATUS,
    minimum_interval_seconds=30,
    description="Posts when a job succeeds again, and posts notifications that are still pending.",
)
def recoveries(context: dg.RunStatusSensorContext) -> None:
    """Post when a job succeeds again, and post notifications that are still pending."""
    run = context.dagster_run
    if before := _failures_before(context.instance, run):
        outage = Outage(since=before[-1].ended_at, runs=len(before))
        with database.connect(autocommit=True, application_name="warehouse dagster") as connection:
            note_events(
                connection,
                [RunEvent(run.run_id, "run_recovered", _job_name(run), outage_text(outage))],
                run_recovered(run.run_id, _job_name(run), outage),
            )
    send_pending()


def _cause(context: dg.RunFailureSensorContext) -> str:
    """Return which steps failed and why: the description of a dg.Failure, or else the error."""
    causes = []
    for event in context.get_step_failure_events():
        data = event.step_failure_data
        description = data.user_failure_data.description if data.user_failure_data else None
        error = data.error.cause or data.error if data.error else None
        causes.append(
            f"{event.step_key}: {description or (error and error.message) or 'no reason given'}"
        )
    text = "; ".join(causes) or context.failure_event.message or "no reason given"
    return one_line(text)[:LONGEST_CAUSE]


SENSORS = [failures, recoveries]
