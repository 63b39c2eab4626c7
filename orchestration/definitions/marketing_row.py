"""The asset that is exported from the warehouse: the marketing row."""

# No postponed annotations: Dagster evaluates the annotation of `config` itself.
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

import dagster as dg

from orchestration.definitions.dbt_assets import OWNERS
from orchestration.definitions.timetable import EVERYTHING, MARKETING_ROW, shown
from orchestration.operations.export import export_row

ROW = dg.AssetKey(["export", "analytics_platform_stats"])


class ExportConfig(dg.Config):
    """How the row is exported."""

    accepted_by: str | None = None
    """Your name, to export a row that changed beyond its bounds and is correct nevertheless."""


@dg.asset(
    key=ROW,
    deps=[dg.AssetKey(["intermediate", "int_platform_stats"])],
    group_name="export",
    owners=OWNERS,
    description="The one row that the marketing site shows; `active_users` are units with a "
    "session in the last 30 days. A failed check leaves it unchanged.",
    metadata={"kept_fresh_by": f"{shown(MARKETING_ROW)}; {shown(EVERYTHING)}"},
)
def analytics_platform_stats(
    context: dg.AssetExecutionContext, config: ExportConfig
) -> dg.MaterializeResult:
    """Write the row, if every blocking check has passed."""
    row = asdict(export_row(config.accepted_by, context.run.run_id))
    return dg.MaterializeResult(asset_key=ROW, metadata=row_metadata(row))


def row_metadata(row: Mapping[str, Any]) -> dict[str, str | float | None]:
    """Return the row's figures, by column, as metadata of its materialization."""
    return {name: _shown(value) for name, value in row.items()} | {"dagster/row_count": 1}


def _shown(value: object) -> str | float | None:
    if isinstance(value, datetime):
        return value.isoformat()
    return None if value is None else float(value)  # type: ignore[arg-type]
