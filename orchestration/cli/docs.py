"""`warehouse docs`: writes the site of the models."""

from __future__ import annotations

import typer


def docs() -> None:
    """Write the site that documents every model and column."""
    from orchestration.operations.build import write_docs

    typer.echo(f"The site is in {write_docs()}")
