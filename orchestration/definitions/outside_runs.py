"""Reports to Dagster what the command line or the demo has loaded, built, checked and exported.

`warehouse serve` runs this once as it starts: ``python -m orchestration.definitions.outside_runs``.
What the command line builds later is reported by the next scheduled run of the same models.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import dagster as dg
import psycopg
from psycopg.rows import class_row

from ingestion.load import ledger
from orchestration.definitions.checks import CHECKS as EXPECTATIONS
from orchestration.definitions.checks import SEVERITY
from orchestration.definitions.dbt_assets import CHECKS as TESTS
from orchestration.definitions.landing import STAGING, kind_of
from orchestration.definitions.reporting import (
    everything_built,
    exported,
    latest_materializations,
    report_in_batches,
)
from warehouse import database, process
from warehouse.sql_files import read_sql

COUNTS_SINCE = read_sql(__file__, "counts_since")
LATEST_RESULTS = read_sql(__file__, "latest_results")


def report(instance: dg.DagsterInstance) -> None:
    """Report everything that Dagster does not know of yet, inputs before what is built of them."""
    with database.connect_as_builder(
        autocommit=True, application_name="warehouse dagster"
    ) as connection:
        report_in_batches(instance, list(_loaded(connection, instance)))
        report_in_batches(instance, everything_built(connection, instance, None))
        report_in_batches(instance, exported(connection, instance))
        report_in_batches(instance, list(_checked(connection, instance)))


def _loaded(
    connection: psycopg.Connection, instance: dg.DagsterInstance
) -> Iterator[dg.AssetMaterialization]:
    """Yield the tables of staging that were loaded into since, with the counts of lines.

    At first all of them: to Dagster, models whose input was never reported are out of sync.
    """
    assets = {name: dg.AssetKey(["staging", name]) for name in STAGING}
    latest = latest_materializations(instance, assets.values())
    cursor = connection.cursor(row_factory=class_row(ledger.Counts))
    for name, asset in assets.items():
        since = {"kind": kind_of(name), "since": latest.get(asset, 0)}
        counts = cursor.execute(COUNTS_SINCE, since).fetchone()
        if counts and (counts.received or asset not in latest):
            yield dg.AssetMaterialization(asset, metadata=asdict(counts))


def _checked(
    connection: psycopg.Connection, instance: dg.DagsterInstance
) -> Iterator[dg.AssetCheckEvaluation]:
    """Yield the latest result of each check that has run since Dagster's own."""
    expectations = {spec.name: spec for one in EXPECTATIONS for spec in one.check_specs}
    specs = {f"dbt_{name}": spec for name, spec in TESTS.items()} | expectations
    known = instance.event_log_storage.get_latest_asset_check_execution_by_key(
        [spec.key for spec in specs.values()]
    )
    for name, passed, severity, failures, detail, checked_at in connection.execute(LATEST_RESULTS):
        spec = specs.get(name.replace(".", "_"))
        if spec is None:
            continue
        last = known.get(spec.key)
        if last is None or last.create_timestamp < checked_at.timestamp():
            yield dg.AssetCheckEvaluation(
                asset_key=spec.asset_key,
                check_name=spec.name,
                passed=passed,
                severity=SEVERITY[severity],
                metadata={"failures": failures or 0, "detail": detail or "It passed."},
            )


if __name__ == "__main__":
    process.isolate()
    with dg.DagsterInstance.get() as own:
        report(own)
