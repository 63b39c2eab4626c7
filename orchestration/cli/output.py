"""Prints results: as one JSON object for programs, as tables and sentences for people."""

from __future__ import annotations

import csv
import io
import json as json_
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, is_dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from ingestion.load.ledger import Counts
    from ingestion.sources.files import Source

# A pipe has no width: no cell is wrapped or cut.
PIPE_WIDTH = 1_000_000


@dataclass(frozen=True, slots=True)
class Table:
    """Rows for people, with the columns' headings; without rows, a sentence or nothing."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    if_empty: str | None = None


def emit(result: object, *parts: Table | str, json: bool, notes: Sequence[str] = ()) -> None:
    """Print a result: with ``json`` as one JSON object, else its parts, each a table or a line.

    ``notes`` are lines for people that are not part of the result: they go to standard error.
    """
    if json:
        typer.echo(_as_json(result))
        return
    for part in parts:
        if isinstance(part, Table):
            print_table(part)
        else:
            typer.echo(escaped(part))
    for note in notes:
        typer.echo(escaped(note), err=True)


def wants_json() -> bool:
    """Return whether the command was asked for JSON: then its errors are JSON, too."""
    return "--json" in sys.argv[1:]


def message(text: str) -> None:
    """Print a message on standard error: lines for people or, with `--json`, an object."""
    if wants_json():
        typer.echo(_as_json({"error": text}), err=True)
        return
    typer.echo("\n".join(escaped(line) for line in f"warehouse: {text}".split("\n")), err=True)


def step(name: str) -> None:
    """Print on standard error which step of a longer command begins."""
    typer.echo(f"▸ {escaped(name)}", err=True)


def escaped(text: str) -> str:
    """Return text with all control characters escaped, so that it can't control the terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def print_table(table: Table) -> None:
    """Print a table: fitted to a terminal, or in full width and without styles to a pipe."""
    if not table.rows:
        if table.if_empty:
            typer.echo(table.if_empty)
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    printed = io.StringIO()
    console = Console(
        file=printed,
        force_terminal=is_terminal,
        color_system="auto" if is_terminal and not os.environ.get("NO_COLOR") else None,
        width=None if is_terminal else PIPE_WIDTH,
    )
    grid = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column, values in zip(table.columns, zip(*table.rows, strict=True), strict=True):
        numbers = all(
            isinstance(value, int | Decimal | None) and not isinstance(value, bool)
            for value in values
        )
        grid.add_column(
            Text(column),
            justify="right" if numbers else "left",
            # The first column names the row: people copy it from there.
            no_wrap=numbers or column == table.columns[0] or not is_terminal,
            overflow="fold",
        )
    for row in table.rows:
        # Text, not str: what looks like Rich's markup is printed as it is.
        grid.add_row(*(Text(escaped(_cell(value))) for value in row))
    console.print(grid)
    for line in printed.getvalue().splitlines():
        typer.echo(line.rstrip())


def print_csv(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows as CSV with a header, exact: times as ISO 8601, NULL as an empty field."""
    printed = io.StringIO()
    writer = csv.writer(printed, lineterminator="\n")
    writer.writerow(columns)
    # A terminal would act on control characters; a file or program gets values as they are.
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    for row in rows:
        writer.writerow([escaped(text) if is_terminal else text for text in map(_field, row)])
    # With `color` nothing is taken out of the text, whatever it looks like.
    typer.echo(printed.getvalue(), nl=False, color=True)


def _field(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime | date):
        return value.isoformat()
    return _compact(value)


def _compact(value: object) -> str:
    """Return text for a value of any type that has the same form in tables and CSV."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return json_.dumps(value, ensure_ascii=False)
    return str(value)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, bool | dict | list):
        return _compact(value)
    if isinstance(value, timedelta):
        if value >= timedelta(days=2):
            return f"{value.days} d"
        minutes = int(value.total_seconds()) // 60
        return f"{minutes // 60} h" if minutes >= 120 else f"{minutes} min"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _as_json(result: object) -> str:
    text = json_.dumps(result, default=_plain, ensure_ascii=False)
    # Control characters beyond ASCII are valid JSON, but a terminal may act on them.
    return "".join(c if c.isprintable() else json_.dumps(c)[1:-1] for c in text)


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    return str(value)


@contextmanager
def load_progress(source: Source) -> Iterator[Callable[[int, Counts], None] | None]:
    """Show a load's progress on a terminal: bytes, events per second, remaining time.

    After a resume it counts only what it reads itself.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    started = time.monotonic()
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[rate]:,.0f} events/s · {task.fields[rejected]:,} rejected"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        name = escaped(Path(source.name).name)
        task = bar.add_task(name, total=source.size, rate=0, rejected=0)

        def update(position: int, counts: Counts) -> None:
            if not counts.received:
                # Where it resumes: what was read before says nothing about the speed.
                bar.reset(task, completed=position, rate=0, rejected=0)
                return
            rate = counts.received / max(time.monotonic() - started, 0.001)
            bar.update(task, completed=position, rate=rate, rejected=counts.rejected)

        yield update
