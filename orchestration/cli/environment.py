"""`warehouse environment`: prints the environment that dbt needs."""

from __future__ import annotations

import typer


def environment() -> None:
    """Print shell commands that let plain `dbt` connect: eval "$(warehouse environment)"."""
    import shlex

    from orchestration.operations.build import builder_environment
    from warehouse.session import unwanted_variables

    typer.echo(f"unset {' '.join(unwanted_variables())}")
    for name, value in builder_environment().items():
        typer.echo(f"export {name}={shlex.quote(value)}")
