"""`warehouse docs`: writes the site of the models."""

from __future__ import annotations

import typer


def docs() -> None:
    """Write the site that documents every model and column."""
    from orchestration.operations.models_site import write_site

    typer.echo(f"The site is in {write_site()}")
