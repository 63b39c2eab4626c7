"""`warehouse serve`: runs Dagster, the collector and the HTTP API."""

from __future__ import annotations

from typing import Annotated

import typer


def serve(
    host: Annotated[
        str, typer.Option(help="The address on which the web servers listen.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port of Dagster's UI.")] = 3000,
    docs_port: Annotated[int, typer.Option(help="The port of the docs it links to.")] = 3001,
    collector_port: Annotated[
        int, typer.Option(help="The port of the collector, which takes events over HTTP.")
    ] = 8000,
    api_port: Annotated[int, typer.Option(help="The port of the HTTP API.")] = 8001,
    postgres_port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            help="Let BI tools reach the embedded PostgreSQL by this port of this machine.",
        ),
    ] = None,
    dev: Annotated[
        bool,
        typer.Option(
            "--dev", help="For development: `Reload definitions` in the UI loads changed code."
        ),
    ] = False,
) -> None:
    """Run Dagster, the collector and the HTTP API, until Ctrl-C or SIGTERM."""
    from ingestion.sources import drop_folder
    from orchestration.serve import processes
    from warehouse.settings import settings

    drop_folder.create(settings().drop)
    processes.serve(host, port, docs_port, collector_port, api_port, postgres_port, dev=dev)
