"""`warehouse plan`: prints the tracking plan."""

from __future__ import annotations

import typer


def plan() -> None:
    """Print the tracking plan as a reference page for producers of events (Markdown)."""
    from ingestion.contract.reference_page import reference_page
    from ingestion.contract.tracking_plan import tracking_plan

    typer.echo("\n".join(reference_page(tracking_plan())))
