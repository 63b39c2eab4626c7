"""What starts runs: the schedules of the timetable, and the sensor of the drop folder."""

from __future__ import annotations

import dagster as dg
from dagster import DagsterRunStatus

from ingestion.sources.drop_folder import waiting_files
from orchestration.definitions.default_status import SCHEDULE_STATUS, SENSOR_STATUS
from orchestration.definitions.expiry import expiry
from orchestration.definitions.landing import landing
from orchestration.definitions.scheduled_runs import (
    everything,
    marketing_row,
    operations,
    traffic,
    watch,
)
from orchestration.definitions.sources import SOURCES
from orchestration.definitions.timetable import (
    EVERYTHING,
    EXPIRY_CRON,
    MARKETING_ROW,
    OPERATIONS,
    PULL_CRON,
    PULL_WHEN,
    TRAFFIC,
    VERIFICATION_CRON,
    WATCH_CRON,
)
from orchestration.definitions.verification import verification
from warehouse.settings import settings

UNFINISHED = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]


def _is_running(instance: dg.DagsterInstance, job: str) -> bool:
    return bool(instance.get_runs(dg.RunsFilter(job_name=job, statuses=UNFINISHED), limit=1))


def _schedule(job: dg.JobDefinition, cron: str, keeps_fresh: str) -> dg.ScheduleDefinition:
    @dg.schedule(
        job=job,
        cron_schedule=cron,
        name=f"{job.name}_schedule",
        description=keeps_fresh,
        execution_timezone="UTC",
        default_status=SCHEDULE_STATUS,
    )
    def schedule(
        context: dg.ScheduleEvaluationContext,
    ) -> dg.RunRequest | dg.SkipReason:
        # Skipping loses nothing: the next run reads all that this one would have read.
        if _is_running(context.instance, job.name):
            return dg.SkipReason(f"The last run of {job.name} has not ended yet.")
        return dg.RunRequest()

    return schedule


SCHEDULES = [
    _schedule(
        marketing_row,
        MARKETING_ROW.cron,
        "Keeps the marketing row fresh, every 10 minutes; active users change as time passes.",
    ),
    _schedule(traffic, TRAFFIC.cron, "Keeps the traffic marts fresh, every hour."),
    _schedule(
        operations,
        OPERATIONS.cron,
        "Keeps metrics, API performance and alerts fresh, every hour.",
    ),
    _schedule(everything, EVERYTHING.cron, "Keeps all marts fresh, every day at 02:15."),
    _schedule(expiry, EXPIRY_CRON, "Keeps no data longer than promised: expires it every hour."),
    _schedule(
        verification, VERIFICATION_CRON, "Shows that the marts equal a rebuild, every day at 04:15."
    ),
    _schedule(watch, WATCH_CRON, "Keeps the monitoring checks fresh, every 10 minutes."),
    *(
        _schedule(
            one.job,
            PULL_CRON,
            f"Keeps the rows of {one.source.name} fresh, {PULL_WHEN}.",
        )
        for one in SOURCES
    ),
]


@dg.sensor(
    job=landing,
    description="Keeps staging up to date with the drop folder: loads each file exactly once.",
    minimum_interval_seconds=30,
    default_status=SENSOR_STATUS,
)
def dropped_files(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Start a run that loads the drop folder, if files wait there."""
    waiting = waiting_files(settings().drop)
    if not waiting:
        return dg.SkipReason(f"No file waits in {settings().drop}.")
    if _is_running(context.instance, landing.name):
        return dg.SkipReason("The last run has not ended. It, or the next run, loads these files.")
    # No run key: Dagster would not start a second run for a file whose first load failed.
    return dg.RunRequest(tags={"warehouse/files": str(len(waiting))})
