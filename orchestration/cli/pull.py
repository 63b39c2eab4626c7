"""`warehouse pull`: takes the new rows of operational PostgreSQL databases."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.cli.load import OUTCOMES, notes_on, outcome_cells, shortened
from orchestration.cli.options import Json, Strict, exit_if_rejected
from orchestration.cli.output import Table, emit, message
from warehouse.errors import ExitCode

if TYPE_CHECKING:
    from ingestion.load.dry_run import DryRun
    from ingestion.sources.postgres.compare import Compared
    from ingestion.sources.postgres.declared import DeclaredSource
    from ingestion.sources.postgres.pull import PullContext, Pulled

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
# How many keys of a stream people see; --json has more.
MOST_KEYS = 5


def _parse_span(text: str) -> timedelta:
    found = re.fullmatch(r"([1-9]\d{0,4})([mhdw])", text)
    if not found:
        raise typer.BadParameter(f"{text!r} is not a span of time: write it like 7d, 12h or 30m")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def pull(
    source: Annotated[str, typer.Argument(help="The source: its folder's name.")],
    stream: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Only this stream; may be given several times. Default: all."
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Load nothing; show what would be taken: counts, and three lines of each stream.",
        ),
    ] = False,
    compare: Annotated[
        timedelta | None,
        typer.Option(
            parser=_parse_span,
            metavar="SPAN",
            help="Load nothing; compare the rows of this span (7d, 12h) with what landed: what was "
            "missed, and what was deleted there.",
        ),
    ] = None,
    full: Annotated[
        bool,
        typer.Option(
            "--full", help="Read the streams from the start; what landed before is a duplicate."
        ),
    ] = False,
    strict: Strict = False,
    json: Json = False,
) -> None:
    """Take the new rows of an operational PostgreSQL database as events and entities.

    A source is a folder in sources/postgres or WAREHOUSE_SOURCES: docs/sources.md explains how to
    write one. A pull that was interrupted loses nothing: pull again.
    """
    if sum((dry_run, full, compare is not None)) > 1:
        raise typer.BadParameter("--dry-run, --compare and --full exclude each other")
    from ingestion.sources.postgres.declared import find_source

    declared = find_source(source)
    if unknown := set(stream or ()) - declared.streams.keys():
        raise typer.BadParameter(
            f"{source} has no stream {sorted(unknown)[0]!r}: it has {', '.join(declared.streams)}"
        )
    streams = [name for name in declared.streams if not stream or name in stream]
    if dry_run:
        _dry_run(declared, streams, json)
    elif compare is not None:
        _compare(declared, streams, compare, json)
    else:
        _pull(declared, streams, full, strict, json)


@contextmanager
def _opened(source: DeclaredSource, *, is_recorded: bool = False) -> Iterator[PullContext]:
    from ingestion.sources.postgres import pull as pulls

    with pulls.opened(source, is_recorded=is_recorded) as context:
        if context.warning:
            message(context.warning)
        yield context


def _pull(source: DeclaredSource, streams: list[str], full: bool, strict: bool, json: bool) -> None:
    from ingestion.load.ledger import Counts
    from ingestion.sources.postgres import pull as pulls

    done: list[Pulled] = []
    try:
        with _opened(source, is_recorded=True) as context:
            for pulled in pulls.pull(context, streams, full=full):
                done.append(pulled)
                if pulled.error:
                    message(pulled.error)
    finally:
        # Also when the warehouse fails: what was pulled before is committed.
        total = sum((one.counts for one in done), Counts())
        if done:
            emit(
                {
                    "source": source.name,
                    "streams": [_with_counts(one) for one in done],
                    "total": asdict(total),
                },
                Table(
                    ("stream", "as", *OUTCOMES),
                    [
                        (one.stream, one.kind or "-", *outcome_cells(one.counts))
                        for one in done
                        if one.kind
                    ],
                ),
                json=json,
                notes=notes_on(total),
            )
    _exit_if_failed(one.error for one in done)
    exit_if_rejected(total.rejected, strict)


def _with_counts(pulled: Pulled) -> dict[str, object]:
    content = asdict(pulled)
    return content | content.pop("counts")


def _dry_run(source: DeclaredSource, streams: list[str], json: bool) -> None:
    from ingestion.sources.postgres import pull as pulls

    runs: dict[str, DryRun] = {}
    errors: dict[str, str] = {}
    with _opened(source) as context:
        for name, run in pulls.dry_run_of(context, streams):
            if isinstance(run, Exception):
                errors[name] = str(run)
                message(str(run))
            else:
                runs[name] = run
    emit(
        {
            "dry_run": True,
            "source": source.name,
            "streams": [{"stream": name, **asdict(run)} for name, run in runs.items()],
            "errors": errors,
        },
        Table(
            ("stream", *OUTCOMES),
            [(name, *outcome_cells(run.counts)) for name, run in runs.items()],
        ),
        Table(
            ("stream", "rejected for", "lines", "the first"),
            [
                (name, reason, why.lines, f"line {why.first_line:,}: {why.detail}")
                for name, run in runs.items()
                for reason, why in run.rejected.items()
            ],
        ),
        *(
            line
            for name, run in runs.items()
            for line in (f"The first lines of {name}:", *map(shortened, run.envelopes))
            if run.envelopes
        ),
        json=json,
        notes=["Nothing was loaded: this was a dry run."],
    )
    _exit_if_failed(errors.values())


def _compare(source: DeclaredSource, streams: list[str], back: timedelta, json: bool) -> None:
    from ingestion.sources.postgres import compare as comparing

    found: list[Compared] = []
    with _opened(source) as context:
        for compared in comparing.compare(context, streams, back):
            found.append(compared)
            if compared.error:
                message(compared.error)
    emit(
        {"source": source.name, "streams": found},
        Table(
            ("stream", "up to", "rows", "rejected", "missed", "deleted there"),
            [
                (
                    one.stream, one.until or "never pulled", one.rows, one.rejected,
                    one.missed, one.deleted,
                )
                for one in found
                if not one.error
            ],
        ),
        json=json,
        notes=[
            *_notes(found, "Missed", lambda one: one.missed_keys),
            *_notes(found, "Deleted there", lambda one: one.deleted_keys),
            *(
                [f"`warehouse pull {source.name} --full` takes what was missed."]
                if any(one.missed for one in found)
                else []
            ),
        ],
    )  # fmt: skip
    _exit_if_failed(one.error for one in found)


def _notes(found: list[Compared], what: str, keys_of: Callable[[Compared], list[str]]) -> list[str]:
    return [
        f"{what} of {one.stream}: {', '.join(keys[:MOST_KEYS])}"
        + (f" and {len(keys) - MOST_KEYS:,} more (--json)" if len(keys) > MOST_KEYS else "")
        for one in found
        if (keys := keys_of(one))
    ]


def _exit_if_failed(errors: Iterable[str | None]) -> None:
    if any(errors):
        raise SystemExit(ExitCode.FAILED)
