"""Who is told when a run fails, and when its job works again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile

import dagster as dg
import psycopg
from dagster import DagsterRunStatus, RunRecord

from orchestration.operations.notifications import (
    Happened,
    is_told,
    last_told,
    link,
    listed,
    note,
    one_line,
    post,
    send,
    shown,
)
from warehouse import database
from warehouse.settings import settings

# Runs of a job that are looked back at for the first failure.
LOOKED_BACK_AT = 1000
LONGEST_CAUSE = 1000
# What Dagster calls the job of all runs that people start from assets.
JOB_OF_ASSETS = "__ASSET_JOB"

RUNNING = (
    dg.DefaultSensorStatus.RUNNING if settings().schedules_run else dg.DefaultSensorStatus.STOPPED
)


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that has ended."""

    run_id: str
    has_failed: bool
    at: datetime


def outage(runs: Iterable[Ended]) -> list[Ended]:
    """Return the failures that the newest of a job's runs are, none where that succeeded.

    ``runs`` and what is returned begin with the newest.
    """
    return list(takewhile(lambda run: run.has_failed, runs))


def _outage_before(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[Ended]:
    records = instance.get_run_records(
        dg.RunsFilter(
            job_name=run.job_name,
            statuses=[DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE],
        ),
        limit=LOOKED_BACK_AT,
    )
    me = next((record for record in records if record.dagster_run.run_id == run.run_id), None)
    return outage(
        _ended(record)
        for record in records
        if record.dagster_run.run_id != run.run_id
        and (me is None or record.storage_id < me.storage_id)
        # Runs that people start from assets are of one job; that one is right says nothing of
        # another.
        and (run.job_name != JOB_OF_ASSETS or _selected(record.dagster_run) == _selected(run))
    )


def _ended(record: RunRecord) -> Ended:
    run = record.dagster_run
    at = datetime.fromtimestamp(record.end_time or record.create_timestamp.timestamp(), UTC)
    return Ended(run.run_id, run.status == DagsterRunStatus.FAILURE, at)


def _selected(run: dg.DagsterRun) -> list[str]:
    """Return the assets of a run that was started from them, or its checks where it has no more."""
    assets = [key.path[-1] for key in run.asset_selection or ()]
    checks = [f"{key.asset_key.path[-1]}: {key.name}" for key in run.asset_check_selection or ()]
    return sorted(assets or checks)


def _name(run: dg.DagsterRun) -> str:
    if run.job_name != JOB_OF_ASSETS:
        return run.job_name
    return f"a run of {listed(_selected(run)) or 'assets'}"


@dg.run_failure_sensor(
    default_status=RUNNING,
    minimum_interval_seconds=30,
    description="Keeps what failed in marts.warehouse_events, and posts it to the webhook.",
)
def failures(context: dg.RunFailureSensorContext) -> None:
    """Keeps what failed in `marts.warehouse_events`, and posts it to the webhook."""
    run = context.dagster_run
    before = _outage_before(context.instance, run)
    now = datetime.now(UTC)
    since = before[-1].at if before else now
    cause = _cause(context)
    told = (
        f":red_circle: {_name(run)} fails since {shown(since)} ({1 + len(before)} runs): {cause}\n"
        f"{link(run.run_id)}"
    )
    try:
        with database.connect(autocommit=True, application_name="warehouse dagster") as connection:
            last = last_told(connection, [one.run_id for one in before])
            note(
                connection,
                [Happened(run.run_id, "run_failed", _name(run), cause)],
                told if is_told(since, last, now) else None,
            )
    except (database.DatabaseError, psycopg.Error):
        # What is wrong may be the database: then it is told all the same, as if each failure
        # before had been told of.
        if is_told(since, before[0].at if before else None, now):
            post(told)
        raise
    send()


@dg.run_status_sensor(
    run_status=DagsterRunStatus.SUCCESS,
    default_status=RUNNING,
    minimum_interval_seconds=30,
    description="Posts when a job works again that had failed, and what else waits to be posted.",
)
def recoveries(context: dg.RunStatusSensorContext) -> None:
    """Posts when a job works again that had failed, and what else waits to be posted."""
    run = context.dagster_run
    if before := _outage_before(context.instance, run):
        detail = f"failed since {shown(before[-1].at)}, {len(before)} runs"
        with database.connect(autocommit=True, application_name="warehouse dagster") as connection:
            note(
                connection,
                [Happened(run.run_id, "run_recovered", _name(run), detail)],
                f":large_green_circle: {_name(run)} works again; it {detail}\n{link(run.run_id)}",
            )
    send()


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
    return one_line(text)[:LONGEST_CAUSE]


SENSORS = [failures, recoveries]
