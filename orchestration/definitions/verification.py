"""The nightly verification: one check a model, of random cells that are computed again."""

# No postponed annotations: Dagster evaluates the annotation of `context` itself.
from collections.abc import Iterator

import dagster as dg

from orchestration.definitions.dbt_assets import Translator
from orchestration.operations.lineage import manifest
from orchestration.operations.notifications import note_checks
from orchestration.operations.verify import CELLS, Verification, drawn_seed, verify

VERIFICATION_CHECK = "equals_a_rebuild"


def _assets() -> dict[str, dg.AssetKey]:
    """Return the assets of all models whose rows follow from other models."""
    return {
        node["name"]: Translator().get_asset_key(node)
        for node in manifest()["nodes"].values()
        if node["resource_type"] == "model"
        and node["config"]["materialized"] == "incremental"
        and node["config"]["incremental_strategy"] != "append_new"
    }


ASSETS = _assets()


@dg.multi_asset_check(
    specs=[
        dg.AssetCheckSpec(
            VERIFICATION_CHECK,
            asset=asset,
            description="Random cells, computed again from what they are made of, are the same.",
        )
        for asset in ASSETS.values()
    ],
    can_subset=True,
)
def verification_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    """Compute random cells of each model again and compare them with its rows."""
    selected = {key.asset_key for key in context.selected_asset_check_keys}
    models = [model for model, asset in ASSETS.items() if asset in selected]
    # A subset says nothing about the other models, so each is noted by its own name.
    problems: dict[str, list[str]] = {}
    seed = drawn_seed()
    for found in verify(models, CELLS, seed):
        if found.skipped:
            # No result, as there was no check; mart_status says when it was verified last.
            context.log.warning(f"{found.model} was not verified: {found.skipped}.")
            continue
        problems[f"{VERIFICATION_CHECK}: {found.model}"] = (
            [_problem(found)] if found.differing_rows else []
        )
        yield _result(found, seed)
    note_checks(context.run.run_id, problems)


def _result(found: Verification, seed: int) -> dg.AssetCheckResult:
    show = f"warehouse verify --mart {found.model} --seed {seed}"
    repair = f"warehouse build --full-refresh --select {found.model}"
    return dg.AssetCheckResult(
        asset_key=ASSETS[found.model],
        check_name=VERIFICATION_CHECK,
        passed=not found.differing_rows,
        # It must not block a build, which may repair it.
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "verified_cells": found.verified_cells,
            "differing_rows": found.differing_rows,
            "differing_columns": ", ".join(found.differing_columns or []) or "(whole rows)",
            "to see the rows": dg.MetadataValue.md(f"`{show}`"),
            "to repair them": dg.MetadataValue.md(f"`{repair}`"),
        }
        if found.differing_rows
        else {"verified_cells": found.verified_cells},
    )


def _problem(found: Verification) -> str:
    columns = ", ".join(found.differing_columns or []) or "whole rows"
    return f"{found.differing_rows:,} rows differ from a rebuild ({columns})"


verification = dg.define_asset_job(
    "verification",
    selection=dg.AssetSelection.checks(verification_checks),
    description="Computes random cells of every model again, and compares.",
    executor_def=dg.in_process_executor,
)
