"""All that Dagster knows of the warehouse, put together."""

from __future__ import annotations

import dagster as dg

from ingestion import process
from orchestration.checking import CHECKS
from orchestration.exporting import analytics_platform_stats
from orchestration.incremental import JOBS
from orchestration.landing import drop_folder, landing
from orchestration.notifying import SENSORS
from orchestration.retaining import retention
from orchestration.schedules import SCHEDULES, dropped_files
from orchestration.transforming import BOOKKEEPING, DBT_ASSETS, dbt_resource

# Dagster starts this module by itself, also without the command line.
process.isolate()

defs = dg.Definitions(
    assets=[drop_folder, *DBT_ASSETS, analytics_platform_stats, *BOOKKEEPING],
    asset_checks=CHECKS,
    jobs=[landing, retention, *JOBS],
    schedules=SCHEDULES,
    sensors=[dropped_files, *SENSORS],
    resources={"dbt": dbt_resource()},
)
