"""`warehouse demo`: runs a generated sample through the whole warehouse."""

from __future__ import annotations

from orchestration.cli.export import row_table
from orchestration.cli.load import OUTCOMES, outcome_cells
from orchestration.cli.options import Json
from orchestration.cli.output import Table, emit


def demo(json: Json = False) -> None:
    """Load a generated sample, build, check and export it, and show the results.

    Running it again changes nothing.
    """
    from orchestration.cli.demo_steps import run_demo, sign_in_link

    done = run_demo()
    emit(
        done,
        "",
        "Lines of the sample",
        Table(OUTCOMES, [outcome_cells(done.lines)]),
        "",
        "Rejected lines",
        Table(("reason", "lines"), list(done.rejected.items())),
        "",
        "Tables",
        Table(("table", "rows"), list(done.tables.items())),
        "",
        "The marketing row, export.analytics_platform_stats",
        row_table(done.row),
        "",
        f"{done.checks_passed} checks passed. Data Docs: {done.docs}",
        *(("", *done.keys) if done.keys else ()),
        "",
        "Next",
        *(f"  {command:<42} {what}" for command, what in done.next_commands.items()),
        json=json,
        notes=[] if json else ["", f"A link that signs you in to its API, once: {sign_in_link()}"],
    )
