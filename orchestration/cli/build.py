"""`warehouse build`: builds the marts."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

import typer

from orchestration.cli.options import Json, parse_day, parse_instant
from orchestration.cli.output import emit


def build(
    full_refresh: Annotated[
        bool, typer.Option("--full-refresh", help="Recompute everything, in place.")
    ] = False,
    start: Annotated[
        date | None,
        typer.Option(
            metavar="DAY",
            parser=parse_day,
            help="Backfill: recompute from this day on (with the whole week and month it is in).",
        ),
    ] = None,
    end: Annotated[
        date | None,
        typer.Option(
            metavar="DAY", parser=parse_day, help="Backfill up to this day, without the day itself."
        ),
    ] = None,
    select: Annotated[
        str | None,
        typer.Option(metavar="MODELS", help="Only these models, in dbt's selection syntax."),
    ] = None,
    as_of: Annotated[
        datetime | None,
        typer.Option(
            metavar="TIME",
            parser=parse_instant,
            help="Compute ages and recent periods as of this time. Default: now.",
        ),
    ] = None,
    allow_lost_events: Annotated[
        bool,
        typer.Option(
            "--allow-lost-events",
            help="Rebuild typed facts although some of their raw events have expired.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Build the marts from what was loaded since the last build."""
    from orchestration.operations import build as builds
    from orchestration.operations.failing_rows import warnings
    from warehouse import database

    if (start is None) != (end is None) or (start and end and start >= end):
        raise typer.BadParameter(
            "a backfill needs both --start and --end, and --end is the day after its last day"
        )
    if start and (as_of or full_refresh):
        raise typer.BadParameter("--start and --end can't be used with --as-of or --full-refresh")
    result = builds.build(
        builds.BuildOptions(full_refresh, start, end, select, as_of, allow_lost_events)
    )
    with database.connect_as_builder(application_name="warehouse build") as connection:
        warned = [f"Warning: {warning}" for warning in warnings(connection)]
    way = f"with dbt, because {result.why_dbt}" if result.ran_dbt else "without dbt"
    emit(
        result,
        f"Built the marts up to batch {result.batch_seq:,}, as of "
        f"{result.as_of:%Y-%m-%d %H:%M:%S} UTC, {way}.",
        notes=warned,
        json=json,
    )
