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
    from ingestion.load.dry_run import DryRun
    from ingestion.load.ledger import Counts
    from ingestion.load.loader import LoadResult
    from ingestion.load.unknown_members import UnknownMember

Loaded = TypeVar("Loaded")

# How many unknown members of a file people see; --json and marts.unknown_members have all.
MOST_UNKNOWN = 10
# How many characters of a line people see; a line may have a quarter of a million.
MOST_SHOWN = 4_000

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
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Load nothing; show the counts, why lines would be rejected, the first events, "
            "and members that are not in the plan.",
        ),
    ] = False,
    strict: Strict = False,
    json: Json = False,
) -> None:
    """Load events: NDJSON or a JSON array (plain, gzip or zstd), or what a mapping reads.

    Loading a file again adds nothing. An interrupted load resumes where it stopped.
    """
    from ingestion.load.dry_run import dry_run as show_load
    from ingestion.load.loader import load as load_source
    from ingestion.load.workers import Workers
    from ingestion.sources import mapping as mappings
    from ingestion.sources.files import open_source

    found = mappings.find_mapping(mapping) if mapping else None

    def try_one(file: str) -> DryRun:
        source = open_source(file, found)
        with load_progress(source) as progress:
            return show_load(source, progress)

    if dry_run:
        tried = load_each(files, try_one, lambda runs: _emit_dry_runs(runs, json))
        exit_if_rejected(sum(run.counts.rejected for run in tried), strict)
        return

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
                    "unknown_members": result.unknown_members,
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
            *(
                note
                for result in results
                for note in notes_on_unknown_members(result.source, result.unknown_members)
            ),
        ],
    )


def _total(results: list[LoadResult]) -> Counts:
    from ingestion.load.ledger import Counts

    return sum((result.counts for result in results), Counts())


def notes_on_unknown_members(source: str, members: list[UnknownMember]) -> list[str]:
    """Return what people need to know about members of their events that are not in the plan."""
    if not members:
        return []
    notes = [f"{source}: these members are not in the tracking plan (they are kept):"]
    for member in members[:MOST_UNKNOWN]:
        times = "once" if member.events == 1 else f"{member.events:,} times"
        meant = f"; did you mean {member.nearest_known}?" if member.nearest_known else ""
        notes.append(f"  {member.event}: {member.member} {times}{meant}")
    if more := len(members[MOST_UNKNOWN:]):
        notes.append(f"  … and {more:,} more: see --json, or marts.unknown_members.")
    return notes


def _emit_dry_runs(runs: list[DryRun], json: bool) -> None:
    rejected = [
        (run.source, reason, why.lines, f"line {why.first_line:,}: {why.detail}")
        for run in runs
        for reason, why in run.rejected.items()
    ]
    emit(
        {"dry_run": True, "files": [asdict(run) for run in runs]},
        Table(("source", *OUTCOMES), [(run.source, *outcome_cells(run.counts)) for run in runs]),
        Table(("source", "rejected for", "lines", "the first"), rejected),
        *(
            line
            for run in runs
            for line in (f"The first events of {run.source}:", *map(shortened, run.envelopes))
            if run.envelopes
        ),
        json=json,
        notes=[
            *(
                note
                for run in runs
                for note in notes_on_unknown_members(run.source, run.unknown_members)
            ),
            "Nothing was loaded: this was a dry run.",
        ],
    )


def shortened(line: str) -> str:
    """Return a line for people; --json shows all of it."""
    return line if len(line) <= MOST_SHOWN else f"{line[:MOST_SHOWN]}…"


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
