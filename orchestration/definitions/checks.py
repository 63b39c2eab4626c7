"""Asset checks: of what landed, of the row before its export, and the monitoring checks."""

# No postponed annotations: Dagster evaluates the annotation of `context` itself.
from collections.abc import Iterable, Iterator
from contextlib import suppress

import dagster as dg

from expectations.checks import SEVERITIES, CheckResult, docs_page, run_checks, suite_content
from orchestration.definitions.marketing_row import ROW
from orchestration.definitions.sources import freshness_results as pull_results
from orchestration.definitions.timetable import parents
from orchestration.operations.collecting import LAG_LIMIT, described, is_behind, spooled
from orchestration.operations.freshness import ROW_LIMIT, Freshness, mart_ages, mart_limit, row_age
from orchestration.operations.lineage import manifest, with_ancestors
from orchestration.operations.serve_state import failing, serving
from orchestration.operations.status import NothingBuiltError, require_built
from warehouse import database
from warehouse.settings import settings

SEVERITY = {"error": dg.AssetCheckSeverity.ERROR, "warn": dg.AssetCheckSeverity.WARN}
FRESHNESS_CHECK = "is_fresh"
LANDED = dg.AssetKey(["staging", "raw_events"])
COLLECTOR_CHECK = "collector_keeps_up"
SERVE_CHECK = "serve_keeps_running"


def _marts() -> dict[str, str]:
    """Return the folder of each mart that is built, directly or not, from an incremental model."""
    models = [node for node in manifest()["nodes"].values() if node["resource_type"] == "model"]
    built = {node["name"] for node in models if node["config"]["materialized"] == "incremental"}
    return {
        node["name"]: node["fqn"][2]
        for node in models
        if node["fqn"][1] == "marts" and built & with_ancestors([node["name"]], parents())
    }


MARTS = _marts()


def _specs(suite: str) -> list[dg.AssetCheckSpec]:
    content = suite_content(suite)
    return [
        dg.AssetCheckSpec(
            f"{suite}_{expectation['meta']['check']}",
            asset=_asset(content["meta"]["model"]),
            description=expectation["meta"]["sentence"],
            blocking=SEVERITIES[expectation["severity"]] == "error",
        )
        for expectation in content["expectations"]
    ]


def _asset(model: str) -> dg.AssetKey:
    """Return the asset of a model that a suite names as schema.table."""
    return dg.AssetKey(model.split("."))


def _freshness_specs() -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(FRESHNESS_CHECK, asset=asset, description="Its age is within the limit.")
        for asset in [*(dg.AssetKey(["marts", mart]) for mart in MARTS), ROW]
    ]


def suite_results(*suites: str) -> Iterator[dg.AssetCheckResult]:
    """Run suites of Great Expectations and yield the result of each check."""
    link = settings().docs_link(docs_page(*suites))
    for result in run_checks(docs=True, suites=suites):
        yield dg.AssetCheckResult(
            asset_key=_asset(result.model),
            check_name=result.check_name.replace(".", "_"),
            passed=result.passed,
            severity=SEVERITY[result.severity],
            metadata=_metadata(result, link),
        )


def _metadata(result: CheckResult, docs: str) -> dict[str, dg.MetadataValue]:
    return {
        "failures": dg.MetadataValue.int(result.failures or 0),
        "detail": dg.MetadataValue.text(result.detail),
        "query": dg.MetadataValue.md(f"```sql\n{result.query}\n```"),
        "data_docs": dg.MetadataValue.url(docs),
    }


def freshness_results() -> Iterator[dg.AssetCheckResult]:
    """Yield for each mart and the marketing row whether it is no older than its limit."""
    with database.connect_as_builder(application_name="warehouse freshness") as connection:
        require_built(connection, "marts.mart_status")
        ages = mart_ages(connection)
        of_row = row_age(connection)
    for mart, folder in MARTS.items():
        yield _freshness(
            dg.AssetKey(["marts", mart]), Freshness(ages.get(mart), mart_limit(folder))
        )
    yield _freshness(ROW, Freshness(of_row, ROW_LIMIT))


def machine_results() -> Iterator[dg.AssetCheckResult]:
    """Yield whether what came over HTTP lands soon, and whether the parts of `serve` run."""
    found = spooled()
    yield dg.AssetCheckResult(
        asset_key=LANDED,
        check_name=COLLECTOR_CHECK,
        passed=not is_behind(found),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"detail": described(found), "waiting_bytes": found.bytes},
    )
    ended = failing(serving())
    yield dg.AssetCheckResult(
        asset_key=LANDED,
        check_name=SERVE_CHECK,
        passed=not ended,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"detail": " ".join(ended) or "No part ends again and again."},
    )


def _freshness(asset: dg.AssetKey, found: Freshness) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=FRESHNESS_CHECK,
        passed=found.is_fresh,
        # It must not block builds and exports, because these make a stale asset fresh.
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "age": "never built" if found.age is None else str(found.age).partition(".")[0],
            "limit": str(found.limit),
            "query": dg.MetadataValue.md("```sql\nselect * from marts.mart_status\n```"),
        },
    )


def _selected(
    context: dg.AssetCheckExecutionContext, results: Iterable[dg.AssetCheckResult]
) -> Iterator[dg.AssetCheckResult]:
    for result in results:
        if (
            dg.AssetCheckKey(result.asset_key, result.check_name)
            in context.selected_asset_check_keys
        ):
            yield result


@dg.multi_asset_check(specs=[*_specs("raw_events"), *_specs("event_batches")], can_subset=True)
def boundary_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    """Check what landed since the last passing run against the contract."""
    yield from _selected(context, suite_results("raw_events", "event_batches"))


@dg.multi_asset_check(specs=_specs("platform_stats"), can_subset=True)
def stats_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    """Check the candidate of the marketing row before it is exported."""
    yield from _selected(context, suite_results("platform_stats"))


@dg.multi_asset_check(specs=[*_specs("landed_volume"), *_specs("staging_columns")], can_subset=True)
def staging_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    """Check how much landed yesterday, and the columns of staging."""
    yield from _selected(context, suite_results("landed_volume", "staging_columns"))


@dg.multi_asset_check(specs=_freshness_specs(), can_subset=True)
def freshness_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    """Check how old marts and the marketing row are."""
    yield from _selected(context, freshness_results())


@dg.multi_asset_check(
    specs=[
        dg.AssetCheckSpec(
            COLLECTOR_CHECK,
            asset=LANDED,
            description=f"No event waits in the collector's spool for more than {LAG_LIMIT}.",
        ),
        dg.AssetCheckSpec(
            SERVE_CHECK,
            asset=LANDED,
            description="No part of `warehouse serve` on this machine ends again and again.",
        ),
    ],
    can_subset=True,
)
def machine_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    """Check the collector's spool and the parts of `warehouse serve` on this machine."""
    yield from _selected(context, machine_results())


CHECKS = [boundary_checks, stats_checks, staging_checks, freshness_checks, machine_checks]


def monitoring_results() -> Iterator[dg.AssetCheckResult]:
    """Run the checks that are independent of builds; freshness only after the first build."""
    yield from machine_results()
    yield from pull_results()
    yield from suite_results("landed_volume", "staging_columns")
    with suppress(NothingBuiltError):
        yield from freshness_results()


def problems_by_check(results: Iterable[dg.AssetCheckResult]) -> dict[str, list[str]]:
    """Return what each check found, nothing where it passed.

    Freshness counts as one check for each folder of marts, and one for the export.
    """
    problems: dict[str, list[str]] = {}
    for result in results:
        of_check = problems.setdefault(_notified_as(result), [])
        if not result.passed:
            of_check.append(_problem(result))
    return problems


def _notified_as(result: dg.AssetCheckResult) -> str:
    if result.check_name != FRESHNESS_CHECK:
        return result.check_name
    return f"{FRESHNESS_CHECK} of {MARTS.get(result.asset_key.path[-1], 'export')}"


def _problem(result: dg.AssetCheckResult) -> str:
    found = {name: value.value for name, value in result.metadata.items()}
    if result.check_name != FRESHNESS_CHECK:
        return found["detail"]
    return f"{result.asset_key.path[-1]} (age {found['age']}, limit {found['limit']})"
