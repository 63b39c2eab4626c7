"""`warehouse rejected`: the quarantine, where rejected lines wait."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from orchestration.cli.load import MOST_SHOWN, OUTCOMES, notes_on, outcome_cells
from orchestration.cli.options import Json, Strict, exit_if_rejected
from orchestration.cli.output import Table, emit
from warehouse.errors import WarehouseError

rejected = typer.Typer(no_args_is_help=True, help="See rejected lines, and load them again.")


@rejected.command("list")
def rejected_list(json: Json = False) -> None:
    """List how many lines were rejected, by reason and source."""
    from ingestion.load.quarantine import rejected_groups
    from warehouse import database

    with database.connect() as connection:
        groups = rejected_groups(connection)
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
    reason: Annotated[
        str | None, typer.Option(help="Only lines that were rejected for this reason.")
    ] = None,
    strict: Strict = False,
    json: Json = False,
) -> None:
    """Load rejected events again, after the tracking plan was fixed.

    Events that a mapping made are loaded as it made them. After you fixed the
    mapping, load the file again instead.
    """
    from ingestion.load.quarantine import replay

    counts = replay(reason)
    emit(
        asdict(counts),
        Table(("replayed", *OUTCOMES[1:]), [outcome_cells(counts)]),
        json=json,
        notes=notes_on(counts),
    )
    exit_if_rejected(counts.rejected, strict)
