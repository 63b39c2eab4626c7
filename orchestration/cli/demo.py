"""`warehouse demo`: runs a generated sample through the whole warehouse."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestration.cli.export import row_table
from orchestration.cli.load import OUTCOMES, outcome_cells
from orchestration.cli.options import Json
from orchestration.cli.output import Table, emit


def demo(
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Also show what dbt and the checks print.")
    ] = False,
    json: Json = False,
) -> None:
    """Load a generated sample, build, check and export it, and show the results.

    Running it again changes nothing.
    """
    import shlex

    from orchestration.cli.demo_steps import run_demo, sign_in_link

    done = run_demo(verbose=verbose)
    emit(
        done,
        "",
        "Lines of the sample",
        Table(OUTCOMES, [outcome_cells(done.lines)]),
        "",
        "Rejected lines",
        Table(("reason", "lines"), list(done.rejected.items())),
        "",
        "What there is to see",
        *(f"  {text}" for seen in done.story.items() for text in (seen[0], f"    {seen[1]}")),
        *(f"  Warning: {warning}" for warning in done.warnings),
        "",
        f"{len(done.tables)} tables have {sum(done.tables.values()):,} rows: `warehouse status`",
        "",
        "The marketing row, export.analytics_platform_stats",
        row_table(done.row),
        "",
        f"{done.checks_passed} checks passed. Data Docs: {done.docs}",
        *(("", *done.keys) if done.keys else ()),
        "",
        "Next",
        *(f"  {command:<42} {what}" for command, what in done.next_commands.items()),
        "",
        "An operational database to pull from, a CRM, is beside the warehouse",
        f"  export CRM_DATABASE_URL={shlex.quote(done.crm_url)}",
        "  warehouse pull crm --dry-run",
        json=json,
        notes=[] if json else ["", f"A link that signs you in to its API, once: {sign_in_link()}"],
    )
