"""`warehouse api`: serves the marts over HTTP."""

from __future__ import annotations

from typing import Annotated

import click
import typer
from typer.core import TyperCommand

# What of `warehouse/settings.py` concerns the API.
SETTINGS = (
    "api_url",
    "api_database_url",
    "api_database_url_file",
    "api_timeout_seconds",
    "api_csv_timeout_seconds",
    "api_connections",
    "dashboard_collector_url",
    "dashboard_key",
    "marketing_origins",
    "marketing_networks",
    "trusted_proxies",
)


class WithSettings(TyperCommand):
    """A command whose help also tells its settings."""

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Print the help, and each setting with what it does."""
        from warehouse.settings import Settings

        super().format_help(ctx, formatter)
        formatter.write("\nSettings, as environment variables:\n\n")
        for name in SETTINGS:
            field = Settings.model_fields[name]
            default = "" if field.default in (None, ()) else f" Default: {field.default}."
            formatter.write(f"  WAREHOUSE_{name.upper()}\n")
            formatter.write(
                click.formatting.wrap_text(f"{field.description}{default}", 78, "    ", "    ")
            )
            formatter.write("\n")


def api(
    host: Annotated[str, typer.Option(help="The address on which it listens.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port of the API.")] = 8001,
) -> None:
    """Serve marts over HTTP to people and programs with a key, until Ctrl-C or SIGTERM.

    `warehouse keys create --kind read --role ROLE` makes a key; /docs describes the API.
    """
    from serving.server import serve

    serve(host, port)
