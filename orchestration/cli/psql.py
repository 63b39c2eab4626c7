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
    owner: Annotated[
        bool, typer.Option("--owner", help="Connect as the owner, who may change everything.")
    ] = False,
    builder: Annotated[
        bool,
        typer.Option("--builder", help="Connect as the builder, to read what builds wrote."),
    ] = False,
) -> None:
    """Open psql, PostgreSQL's SQL prompt, to read the marts as an analyst.

    Names without a schema are those of marts: `select * from analytics_daily`.
    """
    import shutil

    from warehouse import database, embedded

    if owner and builder:
        raise typer.BadParameter("--owner and --builder can't be used together")
    if owner:
        database.connect().close()
        environment = database.libpq_environment()
    elif builder:
        database.connect_as_builder().close()
        environment = database.libpq_environment(database.builder_url())
    else:
        database.connect_as_analyst().close()
        environment = database.libpq_environment(database.analyst_url(), search_path="marts")
        environment["PGOPTIONS"] += f" -c role={database.ANALYST}"
    program = shutil.which("psql") or str(embedded.program("psql"))
    os.execve(program, [program, *(arguments or [])], os.environ | environment)  # noqa: S606
