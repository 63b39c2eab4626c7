"""Assets of dbt: from staging to the marts, one definition for each kind of partition.

A run of chosen partitions is a backfill: it recomputes that window and moves no offset. A run of
unpartitioned assets builds from unread input. Scheduled runs, which build all kinds of partitions
at once, are in scheduled_runs.py.
"""

# No postponed annotations: Dagster evaluates the annotation of `context` itself.
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import dagster as dg
import psycopg
from dagster_dbt import DagsterDbtTranslator, DbtCliResource, DbtProject, dbt_assets

from orchestration.definitions.partitions import (
    Period,
    first_partitioned_day,
    partitions_from,
    period_of,
)
from orchestration.definitions.timetable import kept_fresh_by, parents
from orchestration.operations.build import (
    DBT_PROJECT,
    EXCLUDED,
    BuildOptions,
    build_environment,
    environment,
    one_build_at_a_time,
    why_dbt,
)
from orchestration.operations.export import failing_checks
from orchestration.operations.failing_rows import failing_rows
from orchestration.operations.lineage import blocking_checks, manifest
from orchestration.operations.stored_build import TestResult, run_test
from warehouse import database
from warehouse.settings import settings

OWNERS = ["team:data"]
PARTITIONS = partitions_from(first_partitioned_day())
# Every op that builds is in this pool. Dagster starts one run of it at a time: see instance.py.
BUILDS = "builds"
# Runs under the lock of builds, so that no other build has started meanwhile.
MARK_REPORTED = """
    update warehouse.touched_periods as t set reported_to_dagster = true
    from warehouse.builds as b
    where t.invocation_id = b.invocation_id and b.started_at >= %s
"""


class Translator(DagsterDbtTranslator):
    """How dbt's models appear in Dagster."""

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        """Group models by their folder, sources by their name, all else by its schema."""
        if dbt_resource_props["resource_type"] == "source":
            return dbt_resource_props["source_name"]
        folders = dbt_resource_props["fqn"][1:-1]
        if not folders:
            return dbt_resource_props["schema"]
        return folders[-1] if folders[0] == "marts" else folders[0]

    def get_description(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """Show the description alone; the SQL is in dbt's docs."""
        return dbt_resource_props["description"]

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> list[str]:
        """The data team owns all models."""
        return OWNERS

    def get_metadata(self, dbt_resource_props: Mapping[str, Any]) -> Mapping[str, Any]:
        """Add the jobs that keep the model fresh, and a link to its page in dbt's docs."""
        page = settings().docs_link(settings().dbt_docs / "static_index.html")
        return {
            **super().get_metadata(dbt_resource_props),
            "kept_fresh_by": kept_fresh_by(dbt_resource_props),
            "dbt_docs": dg.MetadataValue.url(f"{page}#!/model/{dbt_resource_props['unique_id']}"),
        }

    def get_asset_check_spec(
        self,
        asset_spec: dg.AssetSpec,
        manifest: Mapping[str, Any],
        unique_id: str,
        project: DbtProject | None,
    ) -> dg.AssetCheckSpec | None:
        """Let tests of severity error block downstream models."""
        spec = super().get_asset_check_spec(asset_spec, manifest, unique_id, project)
        node = manifest["nodes"][unique_id]
        return spec and spec._replace(
            blocking=node["config"]["severity"].lower() == "error",
            description=spec.description or node["description"],
        )


@contextmanager
def building(
    models: set[str] | None, options: BuildOptions
) -> Iterator[tuple[psycopg.Connection, int]]:
    """Wait for other builds, and give what is needed to build some models, or all.

    That is a connection, the process of the session that holds the lock of builds, and for dbt the
    environment.

    Raises dg.Failure where a check of an upstream model fails: models that are built from wrong
    data would be wrong, too.
    """
    with (
        one_build_at_a_time() as builder,
        database.connect_as_builder(
            autocommit=True, application_name="warehouse dagster"
        ) as connection,
        environment(build_environment(options)),
    ):
        blocking = blocking_checks(
            failing_checks(connection), parents() if models is None else models, parents()
        )
        if blocking:
            raise dg.Failure(
                f"Nothing was built, because of failing checks upstream: {', '.join(blocking)}. "
                "Fix what they found, then materialize and check their assets again."
            )
        yield connection, builder


def _models_of(period: Period | None) -> list[str]:
    """Return the dbt nodes of one kind of partition, as dbt's selections name them."""
    return sorted(
        node["name"]
        for node in manifest()["nodes"].values()
        if node["resource_type"] in {"model", "seed"} and period_of(node) == period
    )


def _dbt_assets(period: Period | None) -> dg.AssetsDefinition:
    @dbt_assets(
        manifest=manifest(),
        name=f"models_by_{period}" if period else "models",
        select=" ".join(_models_of(period)),
        exclude=" ".join(EXCLUDED),
        partitions_def=period and PARTITIONS[period],
        backfill_policy=dg.BackfillPolicy.single_run() if period else None,
        dagster_dbt_translator=Translator(),
        pool=BUILDS,
    )
    def models(context: dg.AssetExecutionContext, dbt: DbtCliResource) -> Iterator[Any]:
        selected = {key.path[-1] for key in context.selected_asset_keys}
        if period and selected:
            window = context.partition_time_window
            options = BuildOptions(start=window.start.date(), end=window.end.date())
        else:
            options = BuildOptions()
        with building(selected, options) as (connection, _):
            tests = sorted(key.name for key in context.selected_asset_check_keys)
            # A run of checks alone tests the whole mart, whatever its partitions.
            if not selected and why_dbt(connection, options, tests) is None:
                for test in tests:
                    yield check_result(connection, run_test(connection, test))
                return
            begun = connection.execute("select clock_timestamp()").fetchone()
            invocation = dbt.cli(["build" if selected else "test"], context=context)
            for event in invocation.stream():
                is_check = isinstance(event, dg.AssetCheckResult)
                yield (with_query(connection, event, invocation.target_path) if is_check else event)
            connection.execute(MARK_REPORTED, begun)

    return models


DBT_ASSETS = [_dbt_assets(period) for period in (None, *Period)]
# dbt's tests, by name, as checks of the assets that they are of.
CHECKS = {spec.name: spec for assets in DBT_ASSETS for spec in assets.check_specs}


def as_query(text: str) -> dg.MarkdownMetadataValue:
    """Show a query as metadata of a check."""
    return dg.MetadataValue.md(f"```sql\n{text.strip()}\n```")


Checked = TypeVar("Checked", dg.AssetCheckResult, dg.AssetCheckEvaluation)


def check_result(connection: psycopg.Connection, test: TestResult) -> dg.AssetCheckResult:
    """Return the result of a stored test, as dagster-dbt does of one that dbt has run."""
    spec = CHECKS[test.test]
    return dg.AssetCheckResult(
        asset_key=spec.asset_key,
        check_name=spec.name,
        passed=test.outcome == "pass",
        severity=dg.AssetCheckSeverity[test.severity.upper()],
        metadata={
            "status": test.outcome,
            "dagster_dbt/failed_row_count": test.failures,
            **_rows_of(connection, test.test, test.failing_rows, test.outcome == "pass"),
        },
    )


def _rows_of(
    connection: psycopg.Connection, test: str, query: str, passed: bool
) -> dict[str, dg.MetadataValue]:
    """Return the query of failing rows; where there are any, also their keys and a command."""
    shown: dict[str, dg.MetadataValue] = {"query": as_query(query)}
    if not passed:
        failing = failing_rows(connection, test, query)
        if failing.keys:
            lines = "\n".join(f"- {key}" for key in failing.keys)
            shown["failing_rows"] = dg.MetadataValue.md(lines)
        shown["repair"] = dg.MetadataValue.md(
            f"If the inputs are right, recompute the rows: `{failing.repair}`"
        )
    return shown


def with_query(connection: psycopg.Connection, check: Checked, target: Path) -> Checked:
    """Add the compiled query that returns a dbt test's failing rows, their keys and a command."""
    node = manifest()["nodes"][check.metadata["unique_id"].value]
    compiled = target / "compiled" / node["package_name"] / node["original_file_path"]
    if compiled.name != node["path"].rpartition("/")[2]:
        compiled /= node["path"]
    rows = _rows_of(connection, node["name"], compiled.read_text("utf-8"), check.passed)
    return type(check)(
        asset_key=check.asset_key,
        check_name=check.check_name,
        passed=check.passed,
        severity=check.severity,
        metadata={**check.metadata, **rows},
    )


def dbt_resource() -> DbtCliResource:
    """Return the resource that runs dbt on the project."""
    return DbtCliResource(
        project_dir=DbtProject(
            DBT_PROJECT, target_path=settings().dbt_target, profiles_dir=DBT_PROJECT
        ),
        # This Python environment's dbt, whether the environment is activated or not.
        dbt_executable=str(Path(sys.executable).with_name("dbt")),
    )


# Tables that builds, checks and commands write as they run; no asset materializes them.
BOOKKEEPING = [
    dg.AssetSpec(
        ["warehouse", name], description=description, group_name="warehouse", owners=OWNERS
    )
    for name, description in {
        "model_offsets": "The offset of each model (how far it has read), and its number of rows.",
        "check_results": "The result of every check.",
        "verifications": "The latest verification of each model.",
        "restatements": "Published figures of closed periods that have changed since.",
        "builds": "The high-water mark of each build, its as_of, and how it ended.",
        "alert_actions": "Which alerts people have acknowledged or resolved by hand.",
        "run_events": "Failed runs and checks, recoveries, and quarantined files.",
        "exports": "Every marketing row that was exported, or refused because it changed too much.",
    }.items()
]
