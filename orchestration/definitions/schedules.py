"""When runs start: schedules in UTC, and the sensor of the drop folder."""

from __future__ import annotations

import dagster as dg
from dagster import DagsterRunStatus

from ingestion.sources.drop_folder import waiting_files
from orchestration.definitions.expiry import expiry
from orchestration.definitions.landing import landing
from orchestration.definitions.scheduled_runs import everything, marketing_row, traffic, watch
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
        default_status=(
            dg.DefaultScheduleStatus.RUNNING
            if settings().schedules_run
            else dg.DefaultScheduleStatus.STOPPED
        ),
    )
    def schedule(
        context: dg.ScheduleEvaluationContext,
    ) -> dg.RunRequest | dg.SkipReason:
        # The next run reads all that this one would have: nothing is lost by leaving one out.
        if _is_running(context.instance, job.name):
            return dg.SkipReason(f"The last run of {job.name} has not ended.")
        return dg.RunRequest()

    return schedule


SCHEDULES = [
    _schedule(
        marketing_row,
        "*/10 * * * *",
        "The marketing row, every 10 minutes: its active users slide also when nothing landed.",
    ),
    _schedule(traffic, "5 * * * *", "The traffic marts, every hour."),
    _schedule(everything, "15 2 * * *", "All marts, every day at 02:15."),
    _schedule(expiry, "3 * * * *", "Deletes what is past its retention period, every hour."),
    _schedule(watch, "7-59/10 * * * *", "What is known of freshness, volume and staging."),
]


@dg.sensor(
    job=landing,
    description="Loads files that were put into the drop folder, each exactly once.",
    minimum_interval_seconds=30,
    default_status=(
        dg.DefaultSensorStatus.RUNNING
        if settings().schedules_run
        else dg.DefaultSensorStatus.STOPPED
    ),
)
def dropped_files(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Loads files that were put into the drop folder, each exactly once."""
    waiting = waiting_files(settings().drop)
    if not waiting:
        return dg.SkipReason(f"No file waits in {settings().drop}.")
    if _is_running(context.instance, landing.name):
        return dg.SkipReason("The last run has not ended: it takes what waits, or the next one.")
    # Without a key: a file that the database refused is tried again.
    return dg.RunRequest(tags={"warehouse/files": str(len(waiting))})
