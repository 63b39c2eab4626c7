"""`warehouse stop`: stops the embedded server."""

from __future__ import annotations

import typer


def stop() -> None:
    """Stop the embedded PostgreSQL server, which otherwise keeps running in the background."""
    from warehouse import embedded

    was_running = embedded.stop()
    typer.echo("The server is stopped." if was_running else "The server was not running.")
