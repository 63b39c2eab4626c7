"""`warehouse rejected`: the quarantine, where rejected lines wait."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.cli.load import MOST_SHOWN, OUTCOMES, notes_on, outcome_cells
from orchestration.cli.options import Json, Strict, exit_if_rejected, parse_day
from orchestration.cli.output import Table, emit
from warehouse.errors import WarehouseError

if TYPE_CHECKING:
    from ingestion.load.quarantine import Change

rejected = typer.Typer(no_args_is_help=True, help="See rejected lines, and load them again.")


Reason = Annotated[str | None, typer.Option(help="Only lines that were rejected for this reason.")]
Source = Annotated[str | None, typer.Option(help="Only lines of this file: its path or its name.")]
Event = Annotated[str | None, typer.Option(help="Only lines of this event.")]
Day = Annotated[
    date | None,
    typer.Option(parser=parse_day, metavar="DAY", help="Only lines received on this UTC day."),
]


@rejected.command("list")
def rejected_list(
    reason: Reason = None,
    source: Source = None,
    event: Event = None,
    day: Day = None,
    json: Json = False,
) -> None:
    """List how many lines were rejected, by reason and source."""
    from ingestion.load.quarantine import Which, rejected_groups
    from warehouse import database

    with database.connect() as connection:
        groups = rejected_groups(connection, Which(reason, source, event, day))
    emit(
        {"rejected": groups},
        Table(
            ("reason", "kind", "rejected", "waiting", "example", "source"),
            [
                (
                    group.reason,
                    group.kind,
                    group.rejected,
                    group.waiting,
                    str(group.example_id),
                    group.source,
                )
                for group in groups
            ],
            if_empty="Nothing was rejected.",
        ),
        json=json,
        notes=["To see one of them: `warehouse rejected show EXAMPLE`."] if groups else [],
    )


@rejected.command("show")
def rejected_show(
    reject_id: Annotated[
        int, typer.Argument(metavar="ID", help="As in the column `example` of `rejected list`.")
    ],
    json: Json = False,
) -> None:
    """Show one rejected line: the reason, its source and its bytes."""
    from ingestion.load.quarantine import rejected_line
    from warehouse import database

    with database.connect() as connection:
        line = rejected_line(connection, reject_id)
    if line is None:
        raise WarehouseError(
            f"There is no rejected line {reject_id}: `warehouse rejected list` shows which exist."
        )
    payload = line.payload.decode("utf-8", "backslashreplace")
    replayed = f", replayed {line.replayed_at:%Y-%m-%d %H:%M:%S}" if line.replayed_at else ""
    parts = [
        f"{line.reason}: {line.detail}",
        f"line {line.line_number:,} of {line.source}, batch {line.batch_seq}, "
        f"received {line.received_at:%Y-%m-%d %H:%M:%S}{replayed}",
        payload[:MOST_SHOWN],
    ]
    if more := len(payload[MOST_SHOWN:]):
        parts.append(f"… and {more:,} more characters; --json shows all of them.")
    emit(asdict(line) | {"payload": payload}, *parts, json=json)


@rejected.command("replay")
def rejected_replay(
    reject_id: Annotated[
        list[int] | None,
        typer.Option("--id", metavar="ID", help="Only this line; may be given several times."),
    ] = None,
    reason: Reason = None,
    source: Source = None,
    event: Event = None,
    day: Day = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Load nothing; show what would become of the lines.")
    ] = False,
    strict: Strict = False,
    json: Json = False,
) -> None:
    """Load rejected events again, after the tracking plan was fixed.

    Events that a mapping made are loaded as it made them. After you fixed the
    mapping, load the file again instead.
    """
    from ingestion.load.quarantine import Which, preview_replay, replay

    which = Which(reason, source, event, day, reject_id or None)
    if dry_run:
        _emit_preview(preview_replay(which), json)
        return
    counts = replay(which)
    emit(
        asdict(counts),
        Table(("replayed", *OUTCOMES[1:]), [outcome_cells(counts)]),
        json=json,
        notes=notes_on(counts),
    )
    exit_if_rejected(counts.rejected, strict)


def _emit_preview(changes: list[Change], json: bool) -> None:
    emit(
        {"dry_run": True, "changes": changes},
        Table(
            ("rejected for", "would be", "lines", "example"),
            [
                (
                    change.reason,
                    change.outcome if change.is_taken else f"rejected: {change.outcome}",
                    change.lines,
                    str(change.example_id),
                )
                for change in changes
            ],
            if_empty="No line waits.",
        ),
        json=json,
        notes=["Nothing was loaded: this was a dry run."],
    )
