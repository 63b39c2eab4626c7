"""`warehouse export`: writes the marketing row."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.cli.options import Json, user_name
from orchestration.cli.output import Table, emit

if TYPE_CHECKING:
    from orchestration.operations.export import StatsRow


def export(
    accept: Annotated[
        bool,
        typer.Option(
            "--accept", help="Export although the row changed more than allowed: it is right."
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Export the marketing row, if all blocking checks passed."""
    from orchestration.operations.export import export_row

    row = export_row(user_name() if accept else None)
    emit(row, row_table(row), json=json)


def row_table(row: StatsRow) -> Table:
    """Return the exported row as a table with one row."""
    values = asdict(row)
    return Table(list(values), [list(values.values())])
