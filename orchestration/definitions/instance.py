"""Dagster's instance: its configuration, and the runs of a daemon that has ended."""

from __future__ import annotations

import os
from typing import Any

from ingestion.sources.postgres.declared import configured_sources
from warehouse import database, private_files
from warehouse.settings import settings

STORAGE_URL = "WAREHOUSE_DAGSTER_DATABASE_URL"


def instance_config() -> dict[str, Any]:
    """Return the content of the instance's `dagster.yaml`."""
    config: dict[str, Any] = {
        "telemetry": {"enabled": False},
        # No sign-up window in the UI.
        "nux": {"enabled": False},
        # Few runs at once, because SQLite, the default storage, locks under concurrency. Builds
        # queue for each other, so that there is room beside them to load, expire and monitor.
        "concurrency": {
            "pools": {"granularity": "run", "default_limit": 1},
            # One for each source that is pulled: one that hangs leaves the others room.
            "runs": {"max_concurrent_runs": 6 + len(configured_sources()[0])},
        },
        # A person waits for the run of one check: the default is 5 seconds.
        "run_coordinator": {
            "module": "dagster.core.run_coordinator",
            "class": "QueuedRunCoordinator",
            "config": {"dequeue_interval_seconds": 1},
        },
        # A run that never starts, or hangs, must not block the others.
        "run_monitoring": {
            "enabled": True,
            "start_timeout_seconds": 180,
            "max_runtime_seconds": 6 * 60 * 60,
        },
        # A run whose process was killed is resumed from the step that it was at.
        "run_retries": {"enabled": True, "max_retries": 1, "retry_on_asset_or_op_failure": False},
        "retention": {
            "schedule": {"purge_after_days": 30},
            "sensor": {"purge_after_days": 7},
        },
    }
    if settings().dagster_storage == "postgres":
        config["storage"] = {"postgres": {"postgres_url": {"env": STORAGE_URL}}}
    return config


def dagster_environment() -> dict[str, str]:
    """Write the instance's configuration; return the environment in which Dagster finds it."""
    import yaml

    home = settings().dagster_home.absolute()
    private_files.make_folder(home)
    (home / "dagster.yaml").write_text(yaml.safe_dump(instance_config()), "utf-8")
    environment = os.environ | {"DAGSTER_HOME": str(home)}
    if settings().dagster_storage == "postgres":
        environment[STORAGE_URL] = database.sqlalchemy_url(driver="psycopg2", schema="dagster")
    return environment


def end_lost_runs(environment: dict[str, str]) -> None:
    """Mark runs as failed whose process ended with the daemon that started it.

    The caller has started no run yet, and no other daemon runs on this instance: so every run that
    counts as active is lost.
    """
    os.environ.update(environment)
    import dagster as dg
    from dagster import DagsterRunStatus

    with dg.DagsterInstance.get() as instance:
        lost = instance.get_runs(
            dg.RunsFilter(
                statuses=[
                    DagsterRunStatus.STARTING,
                    DagsterRunStatus.STARTED,
                    DagsterRunStatus.CANCELING,
                ]
            )
        )
        for run in lost:
            instance.report_run_failed(run, "Its process ended with the last `warehouse serve`.")
