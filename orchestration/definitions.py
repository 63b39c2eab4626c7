"""All that Dagster knows of the warehouse, put together."""

from __future__ import annotations

import dagster as dg

from orchestration.checking import boundary_checks, stats_checks
from orchestration.exporting import analytics_platform_stats
from orchestration.landing import drop_folder
from orchestration.transforming import BOOKKEEPING, dbt_models, dbt_resource

everything = dg.define_asset_job(
    "everything",
    selection=dg.AssetSelection.all(),
    description="Drop folder, models, checks and the marketing row, in this order.",
)

defs = dg.Definitions(
    assets=[drop_folder, dbt_models, analytics_platform_stats, *BOOKKEEPING],
    asset_checks=[boundary_checks, stats_checks],
    jobs=[everything],
    resources={"dbt": dbt_resource()},
)
