"""`warehouse load-entities`: loads files of clients, units, users or documents."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.cli.load import load_each, notes_on
from orchestration.cli.options import Json, Strict, exit_if_all_rejected, exit_if_rejected
from orchestration.cli.output import Table, emit

if TYPE_CHECKING:
    from ingestion.load.ledger import Counts


class Kind(StrEnum):
    """The kinds of entities.

    A copy of ingestion.load.entities.EntityKind, whose import is slow; a test keeps them equal.
    """

    CLIENTS = "clients"
    UNITS = "units"
    USERS = "users"
    DOCUMENTS = "documents"


def load_entities(
    kind: Annotated[Kind, typer.Argument(help="What the files hold.")],
    files: Annotated[
        list[str], typer.Argument(metavar="FILE", help="`-` is standard input (NDJSON).")
    ],
    strict: Strict = False,
    json: Json = False,
) -> None:
    """Load clients, units, users or documents: NDJSON or CSV (plain, .gz or .zst)."""
    from ingestion.load import entities
    from ingestion.sources.files import open_source

    def load_one(file: str) -> Counts:
        return entities.load_entities(entities.EntityKind(kind.value), open_source(file))

    loaded = load_each(files, load_one, lambda loaded: _emit_counts(kind, loaded, json))
    exit_if_all_rejected(_total(loaded))
    exit_if_rejected(sum(counts.rejected for counts in loaded), strict)


def _emit_counts(kind: Kind, loaded: list[Counts], json: bool) -> None:
    total = _total(loaded)
    emit(
        {"kind": kind, **asdict(total)},
        Table(
            ("entity", "received", "current", "not newer", "suppressed", "rejected"),
            [
                (
                    kind.value,
                    total.received,
                    total.accepted,
                    total.duplicates,
                    total.suppressed,
                    total.rejected,
                )
            ],
        ),
        json=json,
        notes=notes_on(total),
    )


def _total(loaded: list[Counts]) -> Counts:
    from ingestion.load.ledger import Counts

    return sum(loaded, Counts())
