"""The asset that leaves the warehouse: the marketing row."""

from __future__ import annotations

from dataclasses import asdict

import dagster as dg

from orchestration.export import export_row


@dg.asset(
    key=["export", "analytics_platform_stats"],
    deps=[dg.AssetKey(["intermediate", "int_platform_stats"])],
    group_name="export",
    description="Exactly one row: what the marketing site shows. Stays as it is on a failed check.",
)
def analytics_platform_stats() -> dg.MaterializeResult:
    """Write the row, if every blocking check has passed."""
    row = asdict(export_row())
    return dg.MaterializeResult(
        metadata={
            name: value.isoformat()
            if name == "updated_at"
            else None
            if value is None
            else float(value)
            for name, value in row.items()
        }
    )
