"""Asset checks of Great Expectations: at the boundary, and on the row before it leaves."""

from __future__ import annotations

import json
from collections.abc import Iterator

import dagster as dg

from expectations.checks import SEVERITIES, SUITES_DIR, CheckResult, run_checks

# The asset that each suite looks at.
SUITES = {
    "raw_events": ["staging", "raw_events"],
    "event_batches": ["staging", "event_batches"],
    "platform_stats": ["intermediate", "int_platform_stats"],
}


def _specs(suite: str) -> list[dg.AssetCheckSpec]:
    expectations = json.loads((SUITES_DIR / f"{suite}.json").read_bytes())["expectations"]
    return [
        dg.AssetCheckSpec(
            f"{suite}_{expectation['meta']['check']}",
            asset=dg.AssetKey(SUITES[suite]),
            description=expectation["meta"]["sentence"],
            blocking=SEVERITIES[expectation["severity"]] == "error",
        )
        for expectation in expectations
    ]


def _results(suites: list[str]) -> Iterator[dg.AssetCheckResult]:
    severities = {"error": dg.AssetCheckSeverity.ERROR, "warn": dg.AssetCheckSeverity.WARN}
    for result in run_checks(suites=suites):
        suite = result.check_name.partition(".")[0]
        yield dg.AssetCheckResult(
            asset_key=dg.AssetKey(SUITES[suite]),
            check_name=result.check_name.replace(".", "_"),
            passed=result.passed,
            severity=severities[result.severity],
            metadata=_metadata(result),
        )


def _metadata(result: CheckResult) -> dict[str, dg.MetadataValue]:
    return {
        "failures": dg.MetadataValue.int(result.failures or 0),
        "detail": dg.MetadataValue.text(result.detail),
        "query": dg.MetadataValue.md(f"```sql\n{result.query}\n```"),
    }


@dg.multi_asset_check(specs=[*_specs("raw_events"), *_specs("event_batches")])
def boundary_checks() -> Iterator[dg.AssetCheckResult]:
    """Hold what landed since the last passing run against the contract."""
    yield from _results(["raw_events", "event_batches"])


@dg.multi_asset_check(specs=_specs("platform_stats"))
def stats_checks() -> Iterator[dg.AssetCheckResult]:
    """Hold the candidate of the marketing row against what the site was promised."""
    yield from _results(["platform_stats"])
