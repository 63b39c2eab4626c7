"""`warehouse plan`: prints the tracking plan."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def plan(
    json_schema: Annotated[
        bool,
        typer.Option("--json-schema", help="Print the JSON Schema of all events instead."),
    ] = False,
) -> None:
    """Print the tracking plan as a reference page for producers of events (Markdown)."""
    from ingestion.contract.json_schema import json_schema as schema_of
    from ingestion.contract.reference_page import reference_page
    from ingestion.contract.tracking_plan import tracking_plan

    if json_schema:
        typer.echo(json.dumps(schema_of(tracking_plan()), indent=2, ensure_ascii=False))
        return
    typer.echo("\n".join(reference_page(tracking_plan())))
