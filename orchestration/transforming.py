"""Assets of dbt: from staging to the marts, one dbt invocation a run."""

# No postponed annotations here: Dagster looks at that of `context` itself.
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DbtCliResource, DbtProject, dbt_assets

from ingestion import database
from ingestion.settings import settings
from orchestration.build import (
    DBT_PROJECT,
    BuildError,
    BuildOptions,
    build_environment,
    code_digest,
    dbt_environment,
    environment,
    one_build_at_a_time,
)


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

    def get_asset_check_spec(
        self,
        asset_spec: dg.AssetSpec,
        manifest: Mapping[str, Any],
        unique_id: str,
        project: DbtProject | None,
    ) -> dg.AssetCheckSpec | None:
        """Let tests of severity error block what is downstream."""
        spec = super().get_asset_check_spec(asset_spec, manifest, unique_id, project)
        severity = manifest["nodes"][unique_id]["config"]["severity"].lower()
        return spec._replace(blocking=True) if spec and severity == "error" else spec


@cache
def manifest() -> Path:
    """Return dbt's manifest, made anew when the project's files have changed. Raises BuildError."""
    target = settings().dbt_target
    path, mark = target / "manifest.json", target / "manifest.digest"
    digest = code_digest()
    if not path.exists() or not mark.exists() or mark.read_text() != digest:
        from dbt.cli.main import dbtRunner

        with environment(dbt_environment()):
            parsed = dbtRunner().invoke(["--quiet", "parse"])
        if not parsed.success:
            raise BuildError(f"dbt can't read its project: {parsed.exception}")
        mark.write_text(digest)
    return path


@dbt_assets(
    manifest=manifest(),
    name="dbt_models",
    exclude="resource_type:unit_test",
    dagster_dbt_translator=Translator(),
)
def dbt_models(context: dg.AssetExecutionContext, dbt: DbtCliResource) -> Iterator[Any]:
    """Build what is new, incrementally, and run the tests of what was built."""
    options = BuildOptions(select="some" if context.is_subset else None)
    with (
        database.connect(autocommit=True, application_name="warehouse dagster") as connection,
        one_build_at_a_time(connection),
        environment(build_environment(options)),
    ):
        yield from dbt.cli(["build"], context=context).stream()


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
    dg.AssetSpec(["warehouse", name], description=description, group_name="warehouse")
    for name, description in {
        "model_offsets": "How far each model has read, and how many rows it has.",
        "check_results": "Every check that ran.",
        "restatements": "Published figures of closed periods that are others now.",
        "builds": "What each build was pinned to, and how it ended.",
        "alert_actions": "Which alerts people have acknowledged or resolved by hand.",
    }.items()
]
