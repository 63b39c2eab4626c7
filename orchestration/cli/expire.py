"""`warehouse expire`: deletes what is older than its retention period."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestration.cli.options import DryRun, Json
from orchestration.cli.output import Table, emit


def expire(
    days: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=36_500,
            help="How many days raw events are kept. Default: WAREHOUSE_RETENTION_DAYS, 365.",
        ),
    ] = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Delete old raw events, salts, rejected payloads, dropped files and restatements.

    Marts and typed facts keep all figures.
    """
    from orchestration.operations.expire import expire as expire_old

    done = expire_old(days, dry_run)
    deleted = "would be deleted" if dry_run else "deleted"
    emit(
        done,
        Table(
            ("what", "count", "outcome"),
            [
                *(
                    (
                        f"raw events of {month.month:%Y-%m}",
                        month.events,
                        f"kept: {month.kept}" if month.kept else deleted,
                    )
                    for month in done.months
                ),
                ("salts of visitor hashes", done.salts, deleted),
                ("payloads of rejected lines", done.payloads, deleted),
                ("dropped files", done.dropped_files, deleted),
                ("restatements", done.restatements, deleted),
                ("counts of unknown members", done.unknown_members, deleted),
            ],
        ),
        f"Raw events expire by the month, once it ended before {done.cutoff:%Y-%m-%d}.",
        json=json,
        notes=["Nothing was changed: this was a dry run."] if dry_run else [],
    )
