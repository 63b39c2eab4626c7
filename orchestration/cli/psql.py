"""`warehouse psql`: opens a SQL prompt."""

from __future__ import annotations

import os
from typing import Annotated

import typer


def psql(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="ARGUMENT", help="Arguments of psql, after `--`."),
    ] = None,
    builder: Annotated[
        bool,
        typer.Option("--builder", help="Connect as the builder, to read what builds wrote."),
    ] = False,
) -> None:
    """Open psql, PostgreSQL's SQL prompt, on the warehouse."""
    import shutil

    from warehouse import database, embedded

    (database.connect_as_builder if builder else database.connect)().close()
    url = database.builder_url() if builder else database.url()
    environment = os.environ | database.libpq_environment(url)
    program = shutil.which("psql") or str(embedded.program("psql"))
    os.execve(program, [program, *(arguments or [])], environment)  # noqa: S606
