"""`warehouse check`: runs the checks of Great Expectations."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestration.cli.options import Json
from orchestration.cli.output import Table, emit
from warehouse.errors import ExitCode


def check(
    docs: Annotated[
        bool, typer.Option("--docs", help="Also write the results as a site (Data Docs).")
    ] = False,
    json: Json = False,
) -> None:
    """Check what was loaded and built since the last check."""
    from expectations import checks

    results = checks.run_checks(docs=docs)
    failed = [result for result in results if not result.passed]
    site = {"docs": checks.docs_page()} if docs else {}
    emit(
        {"checks": results, **site},
        Table(
            ("failed check", "severity", "failures", "detail"),
            [(r.check_name, r.severity, r.failures, r.detail) for r in failed],
        ),
        f"{len(results) - len(failed)} of {len(results)} checks passed.",
        *(f"Data Docs: {page}" for page in site.values()),
        json=json,
    )
    if any(result.severity == "error" for result in failed):
        raise SystemExit(ExitCode.CHECK_FAILED)
