"""Assets of dbt: from staging to the marts, one definition for each kind of partition.

A run of chosen partitions recomputes that window and moves no offset; a run of unpartitioned ones
builds what is new. The scheduled runs, which build all kinds at once, are in incremental.py.
"""

# No postponed annotations here: Dagster looks at that of `context` itself.
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import dagster as dg
import psycopg
from dagster_dbt import DagsterDbtTranslator, DbtCliResource, DbtProject, dbt_assets

from orchestration.definitions.partitions import PARTITIONS, Period, period_of
from orchestration.operations.build import (
    DBT_PROJECT,
    EXCLUDED,
    BuildOptions,
    build_environment,
    environment,
    one_build_at_a_time,
)
from orchestration.operations.export import failing_checks
from orchestration.operations.lineage import blocking_checks, manifest, parents_of_models
from warehouse import database
from warehouse.settings import settings

OWNERS = ["team:data"]
# Whatever builds is in this pool, of which one run at a time is started: see instance.py.
BUILDS = "builds"
# Marks the builds since an instant as reported. Run under the lock of builds.
MARK_REPORTED = """
    update warehouse.builds set reported_to_dagster = true
    where not reported_to_dagster and started_at >= %s
"""


class Translator(DagsterDbtTranslator):
    """How dbt's models look in Dagster."""

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        """Group models by their folder (a family of marts, say), all else by its schema."""
        if dbt_resource_props["resource_type"] == "source":
            return dbt_resource_props["source_name"]
        folders = dbt_resource_props["fqn"][1:-1]
        if not folders:
            return dbt_resource_props["schema"]
        return folders[-1] if folders[0] == "marts" else folders[0]

    def get_description(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """Show what a model is; its SQL is in dbt's docs."""
        return dbt_resource_props["description"]

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> list[str]:
        """All models are the data team's."""
        return OWNERS

    def get_metadata(self, dbt_resource_props: Mapping[str, Any]) -> Mapping[str, Any]:
        """Add the way to dbt's own page of a model."""
        page = settings().docs_link(settings().dbt_docs / "static_index.html")
        return {
            **super().get_metadata(dbt_resource_props),
            "dbt_docs": dg.MetadataValue.url(f"{page}#!/model/{dbt_resource_props['unique_id']}"),
        }

    def get_asset_check_spec(
        self,
        asset_spec: dg.AssetSpec,
        manifest: Mapping[str, Any],
        unique_id: str,
        project: DbtProject | None,
    ) -> dg.AssetCheckSpec | None:
        """Let tests of severity error block what is downstream."""
        spec = super().get_asset_check_spec(asset_spec, manifest, unique_id, project)
        node = manifest["nodes"][unique_id]
        return spec and spec._replace(
            blocking=node["config"]["severity"].lower() == "error",
            description=spec.description or node["description"],
        )


@cache
def parents() -> Mapping[str, set[str]]:
    """Return by each model what it is built from."""
    return parents_of_models(manifest())


@contextmanager
def building(models: set[str] | None, options: BuildOptions) -> Iterator[psycopg.Connection]:
    """Wait for other builds; give a connection and the environment to build some models, or all.

    Raises dg.Failure where a failing check of something upstream stands in the way: what is built
    on what is known to be wrong would be wrong, too.
    """
    with (
        one_build_at_a_time(),
        database.connect_as_builder(
            autocommit=True, application_name="warehouse dagster"
        ) as connection,
        environment(build_environment(options)),
    ):
        in_the_way = blocking_checks(
            failing_checks(connection), parents() if models is None else models, parents()
        )
        if in_the_way:
            raise dg.Failure(
                f"Nothing is built, because of failing checks upstream: {', '.join(in_the_way)}. "
                "Mend what they found, and materialize and check what they are of again."
            )
        yield connection


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
        with building(selected, options) as connection:
            begun = connection.execute("select clock_timestamp()").fetchone()
            # Checks alone are of the whole mart, whatever its partitions.
            invocation = dbt.cli(["build" if selected else "test"], context=context)
            for event in invocation.stream():
                is_check = isinstance(event, dg.AssetCheckResult)
                yield with_query(event, invocation.target_path) if is_check else event
            connection.execute(MARK_REPORTED, begun)

    return models


DBT_ASSETS = [_dbt_assets(period) for period in (None, *Period)]


Checked = TypeVar("Checked", dg.AssetCheckResult, dg.AssetCheckEvaluation)


def with_query(check: Checked, target: Path) -> Checked:
    """Add the query that shows a dbt test's failing rows, as it was sent."""
    node = manifest()["nodes"][check.metadata["unique_id"].value]
    compiled = target / "compiled" / node["package_name"] / node["original_file_path"]
    if compiled.name != node["path"].rpartition("/")[2]:
        compiled /= node["path"]
    query = dg.MetadataValue.md(f"```sql\n{compiled.read_text('utf-8').strip()}\n```")
    return type(check)(
        asset_key=check.asset_key,
        check_name=check.check_name,
        passed=check.passed,
        severity=check.severity,
        metadata={**check.metadata, "query": query},
    )


def dbt_resource() -> DbtCliResource:
    """Return the dbt that runs the project with the settings' connection."""
    return DbtCliResource(
        project_dir=DbtProject(
            DBT_PROJECT, target_path=settings().dbt_target, profiles_dir=DBT_PROJECT
        ),
        # The one of this environment, whether it is activated or not.
        dbt_executable=str(Path(sys.executable).with_name("dbt")),
    )


# What builds and checks note of themselves; written by them, and no step of the graph.
BOOKKEEPING = [
    dg.AssetSpec(
        ["warehouse", name], description=description, group_name="warehouse", owners=OWNERS
    )
    for name, description in {
        "model_offsets": "How far each model has read, and how many rows it has.",
        "check_results": "Every check that ran.",
        "restatements": "Published figures of closed periods that are others now.",
        "builds": "What each build was pinned to, and how it ended.",
        "alert_actions": "Which alerts people have acknowledged or resolved by hand.",
        "run_events": "Runs and checks that failed, and the first that were right again.",
        "exports": "Every row that was exported, or refused for its change against the last.",
    }.items()
]
