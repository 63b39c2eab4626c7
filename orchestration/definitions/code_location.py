"""Puts together all of Dagster's definitions."""

from __future__ import annotations

import dagster as dg

from orchestration.definitions.checks import CHECKS
from orchestration.definitions.dbt_assets import BOOKKEEPING, DBT_ASSETS, dbt_resource
from orchestration.definitions.expiry import expiry
from orchestration.definitions.landing import drop_folder, landing
from orchestration.definitions.marketing_row import analytics_platform_stats
from orchestration.definitions.replay import replay_job
from orchestration.definitions.run_failures import SENSORS
from orchestration.definitions.scheduled_runs import JOBS
from orchestration.definitions.schedules import SCHEDULES, dropped_files
from orchestration.definitions.sources import SOURCES
from orchestration.definitions.verification import verification, verification_checks
from warehouse import process

# Dagster also imports this module without the command line.
process.isolate()

defs = dg.Definitions(
    assets=[
        drop_folder,
        *DBT_ASSETS,
        analytics_platform_stats,
        *BOOKKEEPING,
        *(one.assets for one in SOURCES),
    ],
    asset_checks=[*CHECKS, verification_checks, *(one.check for one in SOURCES)],
    jobs=[landing, replay_job, expiry, verification, *JOBS, *(one.job for one in SOURCES)],
    schedules=SCHEDULES,
    sensors=[dropped_files, *SENSORS],
    resources={"dbt": dbt_resource()},
    # One process for each run: importing all of this takes longer than most steps.
    executor=dg.in_process_executor,
    # The UI has all events of a run; the output of `warehouse serve` has what went wrong.
    loggers={"console": dg.colored_console_logger.configured({"log_level": "WARNING"})},
)
