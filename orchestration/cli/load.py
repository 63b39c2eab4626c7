"""`warehouse load`: loads files of events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from orchestration.cli.options import Json, Strict, exit_if_all_rejected, exit_if_rejected
from orchestration.cli.output import Table, emit, load_progress, message
from warehouse.errors import ExitCode

if TYPE_CHECKING:
    from ingestion.load.ledger import Counts
    from ingestion.load.loader import LoadResult

Loaded = TypeVar("Loaded")

OUTCOMES = ("received", "accepted", "duplicates", "suppressed", "rejected")


def load(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="`-` is standard input.")],
    mapping: Annotated[
        str | None,
        typer.Option(
            "--map",
            metavar="MAPPING",
            help="A file with a DuckDB `select` that turns the input into events.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="COUNT",
            help="Processes that validate the lines of a large file; 0: none beside this one. "
            "Default: one per core but one, at most four.",
            show_default=False,
        ),
    ] = None,
    strict: Strict = False,
    json: Json = False,
) -> None:
    """Load events: NDJSON (plain, .gz or .zst), or any format that a mapping reads.

    Loading a file again adds nothing. An interrupted load resumes where it stopped.
    """
    from ingestion.load.loader import load as load_source
    from ingestion.load.workers import Workers
    from ingestion.sources import mapping as mappings
    from ingestion.sources.files import open_source

    found = mappings.find_mapping(mapping) if mapping else None

    def load_one(file: str) -> LoadResult:
        source = open_source(file, found)
        with load_progress(source) as progress:
            return load_source(source, progress, pool)

    with Workers(workers) as pool:
        results = load_each(files, load_one, lambda results: _emit_results(results, json))
    exit_if_all_rejected(_total(results))
    exit_if_rejected(sum(result.counts.rejected for result in results), strict)


def load_each(
    files: list[str], load_one: Callable[[str], Loaded], show: Callable[[list[Loaded]], None]
) -> list[Loaded]:
    """Load each file and show the results; a file that can't be read does not stop the others."""
    from ingestion.sources.files import SourceError

    loaded = []
    try:
        for file in files:
            try:
                loaded.append(load_one(file))
            except SourceError as error:
                message(str(error))
    finally:
        # Also when a later file fails: what was loaded before is committed.
        if loaded:
            show(loaded)
    if len(loaded) < len(files):
        raise SystemExit(ExitCode.FAILED)
    return loaded


def _emit_results(results: list[LoadResult], json: bool) -> None:
    total = _total(results)
    rows = [(result.source, *outcome_cells(result.counts)) for result in results]
    if len(results) > 1:
        rows.append(("total", *outcome_cells(total)))
    emit(
        {
            "files": [
                {
                    "source": result.source,
                    "resumed_at_line": result.resumed_at_line,
                    **asdict(result.counts),
                }
                for result in results
            ],
            "total": asdict(total),
        },
        Table(("source", *OUTCOMES), rows),
        json=json,
        notes=[
            *(
                f"{result.source}: an interrupted load resumed at line {result.resumed_at_line:,}."
                for result in results
                if result.resumed_at_line
            ),
            *notes_on(total),
        ],
    )


def _total(results: list[LoadResult]) -> Counts:
    from ingestion.load.ledger import Counts

    return sum((result.counts for result in results), Counts())


def outcome_cells(counts: Counts) -> list[int]:
    """Return counts as cells of a table with the columns OUTCOMES."""
    return [asdict(counts)[outcome] for outcome in OUTCOMES]


def notes_on(counts: Counts) -> list[str]:
    """Return what people need to know about the outcome of their lines."""
    notes = []
    if counts.suppressed_erased:
        notes.append(
            f"{counts.suppressed_erased:,} of the suppressed lines name erased subjects; they were "
            "not loaded."
        )
    if counts.rejected:
        notes.append("To see why lines were rejected: `warehouse rejected list`.")
    return notes
