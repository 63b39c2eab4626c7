"""`warehouse erase`: erases a person or client."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.cli.options import FROM_STANDARD_INPUT, By, DryRun, Json, read_names
from orchestration.cli.output import Table, emit, message

if TYPE_CHECKING:
    from orchestration.operations.erase import Receipt


def erase(
    by: By,
    user_id: Annotated[
        str | None, typer.Option(metavar="ID", help="A user, under all clients.")
    ] = None,
    lead_id: Annotated[
        str | None, typer.Option(metavar="ID", help="A lead; with --client-id only that client's.")
    ] = None,
    anonymous_id: Annotated[
        str | None,
        typer.Option(metavar="ID", help="A visitor; with --client-id only that client's."),
    ] = None,
    client_id: Annotated[
        str | None, typer.Option(metavar="ID", help="Alone: a whole client.")
    ] = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Erase a user, lead, visitor or client for good, and keep a receipt of it.

    Write `-` as the ID to read it from standard input. Then the list of
    processes, which everyone on the machine can see, does not show it.
    """
    from orchestration.operations import erase as erasing

    kinds = erasing.SubjectKind
    read = read_names(
        user_id=user_id, lead_id=lead_id, anonymous_id=anonymous_id, client_id=client_id, by=by
    )
    visible_to_all = any(
        value is not None and value != FROM_STANDARD_INPUT
        for value in (user_id, lead_id, anonymous_id)
    )
    user_id, lead_id, anonymous_id = read["user_id"], read["lead_id"], read["anonymous_id"]
    client_id, by = read["client_id"], read["by"] or by
    named = {kinds.USER: user_id, kinds.LEAD: lead_id, kinds.ANONYMOUS: anonymous_id}
    given = [(kind, value) for kind, value in named.items() if value is not None]
    if client_id is not None and not given:
        given, client_id = [(kinds.CLIENT, client_id)], None
    if len(given) != 1:
        raise typer.BadParameter(
            "name one subject: --user-id, --lead-id, --anonymous-id or --client-id"
        )
    (kind, identifier) = given[0]
    if kind is kinds.USER and client_id is not None:
        raise typer.BadParameter("a user is erased under all clients: leave out --client-id")
    if visible_to_all:
        message(
            f"the list of processes shows who is erased; `--{kind.replace('_', '-')} -` reads the "
            "ID from standard input instead."
        )
    receipt = erasing.erase(erasing.Subject(kind, identifier, client_id), by, dry_run)
    emit_receipt(receipt, json=json)


def emit_receipt(receipt: Receipt, *, json: bool) -> None:
    """Print what an erasure deleted, or what it would delete."""
    from orchestration.operations.erase import NOT_SEARCHED

    is_dry_run = receipt.erasure_id is None
    would = "would be " if is_dry_run else ""
    emit(
        asdict(receipt) | {"dry_run": is_dry_run, "never_searched": NOT_SEARCHED},
        Table(
            ("where", "count", "what"),
            [
                (name, count, what)
                for what, places in (
                    (f"rows {would}deleted", receipt.removed),
                    (f"rows {would}changed: the ID is cut out of addresses", receipt.changed),
                    (f"files {would}deleted", receipt.files_removed),
                    ("files kept that contain the ID or can't be read", receipt.files_left),
                )
                for name, count in sorted(places.items())
            ],
            if_empty="Nothing about this subject was found.",
        ),
        *_sentences(receipt),
        "The search does not cover:",
        *(f"  - {place}" for place in NOT_SEARCHED),
        json=json,
        notes=["Nothing was changed: this was a dry run."] if is_dry_run else [],
    )


def _sentences(receipt: Receipt) -> list[str]:
    sentences = []
    if receipt.erasure_id is not None:
        tables = "every table that may be read" if receipt.not_searched else "every table"
        sentences.append(
            f"Receipt {receipt.erasure_id}: the subject is erased; a search of {tables} found "
            "nothing."
        )
    if receipt.older_snapshots:
        sentences.append(
            f"{receipt.older_snapshots} transactions that were open before still see the old rows "
            "until they end."
        )
    if receipt.not_searched:
        sentences.append(f"Not searched, as others own them: {', '.join(receipt.not_searched)}.")
    if receipt.export_is_due:
        sentences.append(
            "The exported row counts the subject until the next export: run the Dagster job "
            "`marketing_row`, or `warehouse check` and `warehouse export`."
        )
    return sentences
