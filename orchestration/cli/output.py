"""What people and programs see of a command: a short table, or one JSON object."""

from __future__ import annotations

import json as json_
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from expectations.checks import CheckResult
    from ingestion.load import ledger, loader, quarantine
    from ingestion.sources.files import Source
    from orchestration.operations.alerts import Alert
    from orchestration.operations.build import BuildResult
    from orchestration.operations.erase import Receipt
    from orchestration.operations.expire import Retained
    from orchestration.operations.export import StatsRow
    from orchestration.operations.status import MartStatus


# Of a refused line's characters for people; a line may have millions.
MOST_SHOWN = 4_000


def result(values: dict[str, Any], sentence: str, json: bool) -> None:
    """Print a result as JSON, or as the sentence that says it."""
    typer.echo(as_json(values) if json else sentence)


def step(name: str) -> None:
    """Tell people which step of a longer command comes now."""
    typer.echo(f"▸ {name}", err=True)


@contextmanager
def load_progress(source: Source) -> Iterator[Callable[[int, ledger.Counts], None] | None]:
    """Show a load's progress on a terminal: bytes, events per second, rejected lines."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

    started = time.monotonic()
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[rate]:,.0f} events/s · {task.fields[rejected]:,} rejected"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task(Path(source.name).name, total=source.size, rate=0, rejected=0)

        def update(position: int, counts: ledger.Counts) -> None:
            rate = counts.received / max(time.monotonic() - started, 0.001)
            bar.update(task, completed=position, rate=rate, rejected=counts.rejected)

        yield update


def loaded(results: Sequence[loader.LoadResult], json: bool) -> None:
    """Show what became of the lines of each file."""
    total = _sum(r.counts for r in results)
    if json:
        files = [
            {"source": r.source, "resumed_at_line": r.resumed_at_line, **asdict(r.counts)}
            for r in results
        ]
        typer.echo(as_json({"files": files, "total": asdict(total)}))
        return
    rows = [(r.source, *count_cells(r.counts)) for r in results]
    if len(results) > 1:
        rows.append(("total", *count_cells(total)))
    table(("source", *FATES), rows)
    for r in results:
        if r.resumed_at_line:
            typer.echo(f"{r.source} was taken up again at line {r.resumed_at_line:,}.", err=True)
    _tell_of_erased(total)
    if total.rejected:
        typer.echo("Why lines were rejected: `warehouse rejected list`.", err=True)


def counts(verb: str, total: ledger.Counts, json: bool) -> None:
    """Show what became of some lines."""
    if json:
        typer.echo(as_json(asdict(total)))
    else:
        table((verb.lower(), *FATES[1:]), [count_cells(total)])
        _tell_of_erased(total)


def entities_loaded(kind: str, of_files: Iterable[ledger.Counts], json: bool) -> None:
    """Show what became of an entity's rows."""
    total = _sum(of_files)
    if json:
        typer.echo(as_json({"kind": kind, **asdict(total)}))
        return
    table(
        ("entity", "received", "standing now", "no newer", "rejected"),
        [(kind, *(f"{n:,}" for n in (total.received, total.accepted, total.duplicates)),
          f"{total.rejected:,}")],
    )  # fmt: skip
    _tell_of_erased(total)
    if total.rejected:
        typer.echo("Why rows were rejected: `warehouse rejected list`.", err=True)


def rejected_groups(groups: Sequence[quarantine.RejectedGroup], json: bool) -> None:
    """Show the quarantine by reason and source."""
    if json:
        typer.echo(as_json({"rejected": [asdict(group) for group in groups]}))
    elif groups:
        table(
            ("reason", "kind", "source", "rejected", "waiting", "last", "e.g. reject"),
            [
                (g.reason, g.kind, g.source, f"{g.rejected:,}", f"{g.waiting:,}",
                 f"{g.last_received_at:%Y-%m-%d %H:%M}", g.example_id)
                for g in groups
            ],
        )  # fmt: skip
    else:
        typer.echo("Nothing was rejected.")


def rejected_line(line: quarantine.RejectedLine, json: bool) -> None:
    """Show one refused line; its bytes as text, what is no UTF-8 escaped."""
    payload = line.payload.decode("utf-8", "backslashreplace")
    if json:
        typer.echo(as_json(asdict(line) | {"payload": payload}))
        return
    typer.echo(f"{line.reason}: {line.detail}")
    typer.echo(
        f"line {line.line_number:,} of {line.source}, batch {line.batch_seq}, "
        f"received {line.received_at:%Y-%m-%d %H:%M:%S}"
        + (f", replayed {line.replayed_at:%Y-%m-%d %H:%M:%S}" if line.replayed_at else "")
    )
    # Nothing in a line may steer the terminal.
    begin = payload[:MOST_SHOWN]
    typer.echo("".join(c if c.isprintable() else repr(c)[1:-1] for c in begin))
    if more := len(payload) - len(begin):
        typer.echo(f"… and {more:,} characters more; --json shows all.")


def built(result: BuildResult, json: bool) -> None:
    """Show what a build has read."""
    if json:
        typer.echo(as_json(asdict(result)))
        return
    how = "Built" if result.ran_dbt else "Nothing new; what slides with time was rewritten,"
    typer.echo(f"{how} up to batch {result.batch_seq:,}, as of {result.as_of:%Y-%m-%d %H:%M:%S}.")


def checked(results: Sequence[CheckResult], docs: Path | None, json: bool) -> None:
    """Show every check, failures first."""
    if json:
        site = {"docs": docs} if docs else {}
        typer.echo(as_json({"checks": [asdict(result) for result in results], **site}))
        return
    failed = [r for r in results if not r.passed]
    if failed:
        table(
            ("check", "severity", "failures", "detail"),
            [(r.check_name, r.severity, r.failures, r.detail) for r in failed],
        )
    typer.echo(f"{len(results) - len(failed)} of {len(results)} checks passed.")
    if docs:
        typer.echo(f"Data Docs: {docs}")


def statuses(marts: Sequence[MartStatus], json: bool) -> None:
    """Show how every mart stands."""
    if json:
        typer.echo(as_json({"marts": [asdict(mart) for mart in marts]}))
        return
    table(
        ("mart", "rows", "batch", "behind", "built as of", "age", "checks", "checked at"),
        [
            (
                mart.mart,
                _text(mart.rows),
                _text(mart.batch_seq),
                _text(mart.batches_behind),
                _text(mart.built_as_of),
                _text(mart.freshness_seconds and timedelta(seconds=mart.freshness_seconds)),
                mart.last_check_status or "none",
                _text(mart.last_check_at),
            )
            for mart in marts
        ],
    )


def alerts(found: Sequence[Alert], json: bool) -> None:
    """Show alerts."""
    if json:
        typer.echo(as_json({"alerts": [asdict(alert) for alert in found]}))
    elif found:
        table(
            ("alert", "severity", "since", "what", "acknowledged by", "resolved", "by"),
            [
                (
                    alert.alert_id,
                    alert.severity,
                    f"{alert.created_at:%Y-%m-%d %H:%M}",
                    alert.message,
                    _text(alert.acknowledged_by),
                    _text(alert.resolved_at and f"{alert.resolved_at:%Y-%m-%d %H:%M}"),
                    _text(alert.resolved_by),
                )
                for alert in found
            ],
        )
    else:
        typer.echo("No alert stands.")


def exported(row: StatsRow, json: bool) -> None:
    """Show the exported row."""
    if json:
        typer.echo(as_json(asdict(row)))
    else:
        table(list(asdict(row)), [[_text(value) for value in asdict(row).values()]])


def erased(receipt: Receipt, json: bool) -> None:
    """Show what an erasure removed, or would remove."""
    from orchestration.operations.erase import NOT_SEARCHED

    if json:
        more = {"dry_run": receipt.erasure_id is None, "never_searched": NOT_SEARCHED}
        typer.echo(as_json(asdict(receipt) | more))
        return
    did = "would be " if receipt.erasure_id is None else ""
    counted = [
        (name, f"{n:,}", f"{did}{what}")
        for what, places in (
            ("removed", receipt.removed),
            ("changed: cut out of addresses", receipt.changed),
            ("files deleted", receipt.files_removed),
            ("files left, which hold it or can't be read", receipt.files_left),
        )
        for name, n in sorted(places.items())
    ]
    if counted:
        table(("where", "count", "what"), counted)
    else:
        typer.echo("Nothing of it is there.")
    if receipt.erasure_id is None:
        typer.echo("Nothing was changed: this was a dry run.", err=True)
    else:
        every = "every table that may be read" if receipt.not_searched else "every table"
        typer.echo(f"Receipt {receipt.erasure_id}: erased, and a search of {every} found nothing.")
    if receipt.older_snapshots:
        typer.echo(
            f"{receipt.older_snapshots} transactions that were open before see the old rows until "
            "they end."
        )
    if receipt.not_searched:
        typer.echo(f"Not searched, as they are others': {', '.join(receipt.not_searched)}.")
    if receipt.export_is_due:
        typer.echo(
            "The exported row counts it until the next export: the job marketing_row, or "
            "`warehouse check` and `warehouse export`."
        )
    typer.echo("No search covers:")
    for place in NOT_SEARCHED:
        typer.echo(f"  - {place}")


def retained(done: Retained, json: bool) -> None:
    """Show what retention dropped, or would drop."""
    if json:
        typer.echo(as_json(asdict(done)))
        return
    gone = "would go" if done.dry_run else "dropped"
    if done.months:
        table(
            ("month", "events", "raw events"),
            [
                (f"{m.month:%Y-%m}", f"{m.events:,}", f"kept: {m.kept}" if m.kept else gone)
                for m in done.months
            ],
        )
    typer.echo(
        f"Raw events of months that ended by {done.cutoff:%Y-%m-%d}; {done.salts} salts, "
        f"{done.payloads:,} quarantined payloads, {done.dropped_files:,} dropped files and "
        f"{done.restatements:,} restatements have had "
        "their time."
    )
    if done.dry_run:
        typer.echo("Nothing was changed: this was a dry run.", err=True)


FATES = ("received", "accepted", "duplicates", "suppressed", "rejected")


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a plain table, numbers to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(header), *cells]) for i in range(len(header))]
    right = [
        bool(cells) and all(row[i].replace(",", "").isdigit() for row in cells)
        for i in range(len(header))
    ]
    for row in [list(header), *cells]:
        line = "  ".join(
            cell.rjust(width) if is_number else cell.ljust(width)
            for cell, width, is_number in zip(row, widths, right, strict=True)
        )
        typer.echo(f"  {line.rstrip()}")


def count_cells(counts: ledger.Counts) -> list[str]:
    """Return counts as the cells of a table, in the order of FATES."""
    return [f"{asdict(counts)[fate]:,}" for fate in FATES]


def _sum(counts: Iterable[ledger.Counts]) -> ledger.Counts:
    from ingestion.load.ledger import Counts

    return sum(counts, Counts())


def _tell_of_erased(counts: ledger.Counts) -> None:
    if counts.suppressed_erased:
        typer.echo(
            f"{counts.suppressed_erased:,} of them are of erased subjects: they were left out.",
            err=True,
        )


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return f"{value:,}" if isinstance(value, int) else "none" if value is None else str(value)


def as_json(values: dict[str, Any]) -> str:
    """Return a result as one JSON object."""
    return json_.dumps(values, default=_plain, ensure_ascii=False)


def _plain(value: object) -> object:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    return str(value)
