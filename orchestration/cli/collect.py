"""`warehouse collect`: takes events over HTTP."""

from __future__ import annotations

from typing import Annotated

import typer


def collect(
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port.")] = 8000,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, max=64, help="How many processes answer; default: one for every two cores."
        ),
    ] = None,
) -> None:
    """Take events over HTTP and land them, until Ctrl-C or SIGTERM.

    Events are taken while the database is away, too, and land when it is back.
    Put a proxy with TLS in front for anything but this machine.
    """
    from ingestion.collector import supervisor

    supervisor.collect(host, port, workers)
