"""`warehouse verify`: recomputes random cells of marts, and compares."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestration.cli.options import Json
from orchestration.cli.output import Table, emit, step
from warehouse.errors import ExitCode


def verify(
    marts: Annotated[
        list[str] | None,
        typer.Option("--mart", help="Only this mart or intermediate model. Repeatable."),
    ] = None,
    cells: Annotated[int | None, typer.Option("--cells", min=1, help="Cells of each (20).")] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Draw the same cells as a run with this seed.")
    ] = None,
    json: Json = False,
) -> None:
    """Compute random cells of each mart again, and compare them with its rows.

    Shows on the data that is there that the marts equal a full rebuild. Nothing
    is written but when and how many cells were compared (marts.mart_status).
    Exits with 4 if a row differs: `warehouse build --full-refresh --select MART`
    repairs it.
    """
    from orchestration.operations.verify import CELLS, Verification, drawn_seed
    from orchestration.operations.verify import verify as verify_models

    seed = drawn_seed() if seed is None else seed
    found: list[Verification] = []
    for result in verify_models(marts or (), cells or CELLS, seed):
        step(f"Verified {result.model}")
        found.append(result)
    differing = [result for result in found if result.differing_rows]
    skipped = [result for result in found if result.skipped]
    compared = sum(result.verified_cells or 0 for result in found)
    emit(
        {"seed": seed, "models": found},
        Table(
            ("model", "differing rows", "columns", "first"),
            [
                (
                    result.model,
                    result.differing_rows,
                    ", ".join(result.differing_columns or ["(whole rows)"]),
                    (result.differences or [None])[0],
                )
                for result in differing
            ],
        ),
        f"{compared:,} cells of {len(found) - len(skipped)} models compared, seed {seed}: "
        + (f"{len(differing)} models differ." if differing else "all are as they should be."),
        *(f"Not verified: {result.model}, {result.skipped}." for result in skipped),
        json=json,
    )
    if differing:
        raise SystemExit(ExitCode.CHECK_FAILED)
