"""Dagster's instance: its configuration, and the runs of a daemon that is gone."""

from __future__ import annotations

import os
from typing import Any

from warehouse import database, private_files
from warehouse.settings import settings

STORAGE_URL = "WAREHOUSE_DAGSTER_DATABASE_URL"


def instance_config() -> dict[str, Any]:
    """Return what `dagster.yaml` says of this warehouse's instance."""
    config: dict[str, Any] = {
        "telemetry": {"enabled": False},
        # No sign-up window in front of the lineage.
        "nux": {"enabled": False},
        # SQLite, the default storage, locks under concurrency. Builds wait for each other in the
        # queue, so that beside them there is room to land files, to expire and to watch.
        "concurrency": {
            "pools": {"granularity": "run", "default_limit": 1},
            "runs": {"max_concurrent_runs": 4},
        },
        # A run that never starts, or hangs, is no reason for all others to wait.
        "run_monitoring": {
            "enabled": True,
            "start_timeout_seconds": 180,
            "max_runtime_seconds": 6 * 60 * 60,
        },
        # A run whose process was killed is taken up again, from where it stood.
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
    """Write the instance's configuration; return the environment with which Dagster finds it."""
    import yaml

    home = settings().dagster_home.absolute()
    private_files.make_folder(home)
    (home / "dagster.yaml").write_text(yaml.safe_dump(instance_config()), "utf-8")
    environment = os.environ | {"DAGSTER_HOME": str(home)}
    if settings().dagster_storage == "postgres":
        environment[STORAGE_URL] = database.sqlalchemy_url(driver="psycopg2", schema="dagster")
    return environment


def end_lost_runs(environment: dict[str, str]) -> None:
    """Mark runs as failed whose process is gone with the daemon that started it.

    No other daemon runs on this instance: nothing but this one could have runs.
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
            instance.report_run_failed(run, "Its process is gone, with the last `make up`.")
