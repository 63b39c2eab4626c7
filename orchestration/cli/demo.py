"""The demo: a generated sample through the whole warehouse. A second run changes nothing."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg
import typer

from expectations import checks
from ingestion.load import entities
from ingestion.load.ledger import EVENTS, Counts, finished_load
from ingestion.load.loader import load
from ingestion.sample import generate
from ingestion.sample.timeline import SAMPLE_AS_OF
from ingestion.sources.files import open_source
from orchestration.cli import output
from orchestration.cli.output import load_progress, step
from orchestration.operations.build import BuildOptions, build
from orchestration.operations.export import StatsRow, export_row
from warehouse import database, private_files
from warehouse.errors import WarehouseError
from warehouse.schema.migrate import migrate
from warehouse.settings import settings


class DemoError(WarehouseError):
    """The demo can't run here."""


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo made. ``rejected`` counts lines by reason, ``tables`` rows by name."""

    lines: Counts
    rejected: dict[str, int]
    tables: dict[str, int]
    row: StatsRow
    checks_passed: int
    docs: Path
    next_commands: dict[str, str]


NEXT_COMMANDS = {
    "make dev": "open the Dagster UI on it",
    "source .venv/bin/activate": "have `warehouse` at hand, then",
    "warehouse psql": "query it with SQL",
    "warehouse rejected list": "see what was refused, and why",
    "warehouse plan": "read which events there are",
    "warehouse load FILE": "load events of your own",
    "warehouse build && warehouse check": "bring the marts up to now",
}


def run_demo() -> DemoResult:
    """Set up, load the sample, build, check, export; tell people which step comes now."""
    if not database.is_embedded():
        raise DemoError(
            "The demo fills the embedded server; on the one of WAREHOUSE_DATABASE_URL its sample "
            "would mix with real events. Unset the variable to run the demo."
        )
    step("Setting up the embedded PostgreSQL server and its schema")
    migrate()
    directory = settings().home / "sample"
    private_files.make_folder(directory)
    with (
        database.connect(autocommit=True) as connection,
        database.connect_as_builder(autocommit=True) as builder,
    ):
        if not _is_loaded(connection):
            step("Generating a sample of four months of events")
            _load(generate.write_sample(directory), connection)
            connection.execute(
                "insert into staging.loads (kind, source, head_digest, state, ended_at) "
                "values ('demo', 'demo', '', 'finished', clock_timestamp())"
            )
        step("Building the marts")
        last = connection.execute(
            "select max(as_of) from warehouse.builds where state = 'done'"
        ).fetchone()
        # Whoever has built since keeps what they built: time only moves forward.
        as_of = max(filter(None, (SAMPLE_AS_OF, last and last[0])))
        build(BuildOptions(as_of=as_of))
        step("Checking")
        results = checks.run_checks(docs=True)
        step("Exporting the marketing row")
        row = export_row()
        return DemoResult(
            lines=_lines(connection),
            rejected=_rejected(connection),
            tables=_tables(connection, builder),
            row=row,
            checks_passed=sum(result.passed for result in results),
            docs=checks.docs_page(),
            next_commands=NEXT_COMMANDS,
        )


def _load(files: generate.SampleFiles, connection: psycopg.Connection) -> None:
    """Load the sample, less the files that a demo which was broken off has loaded."""
    for kind in entities.EntityKind:
        source = open_source(str(files.entities[kind]))
        if not finished_load(connection, kind, source.name):
            step(f"Loading {kind}")
            entities.load_entities(kind, source)
    for file in files.events:
        source = open_source(str(file))
        if not finished_load(connection, EVENTS, source.name):
            step(f"Loading {file.name}")
            with load_progress(source) as progress:
                load(source, progress)


def _is_loaded(connection: psycopg.Connection) -> bool:
    row = connection.execute(
        "select exists (select from staging.loads where kind = 'demo' and state = 'finished')"
    ).fetchone()
    return bool(row and row[0])


def _lines(connection: psycopg.Connection) -> Counts:
    row = connection.execute(
        "select coalesce(sum(received), 0)::bigint, coalesce(sum(accepted), 0)::bigint, "
        "coalesce(sum(duplicates), 0)::bigint, coalesce(sum(suppressed), 0)::bigint, "
        "coalesce(sum(rejected), 0)::bigint from staging.event_batches where kind = %s",
        (EVENTS,),
    ).fetchone()
    return Counts(*row) if row else Counts()


def _rejected(connection: psycopg.Connection) -> dict[str, int]:
    return dict(
        connection.execute(
            "select reason, count(*) from staging.rejected_events group by reason "
            "order by count(*) desc, reason"
        ).fetchall()
    )


def _tables(connection: psycopg.Connection, builder: psycopg.Connection) -> dict[str, int]:
    """Count the rows of every table that people may want to see, partitions as one.

    What builds made the builder reads.
    """
    names = connection.execute(
        "select format('%I.%I', schemaname, tablename), "
        "schemaname in ('intermediate', 'marts') from pg_tables where schemaname in "
        "('staging', 'intermediate', 'marts', 'export') and not exists (select from pg_inherits "
        "where inhrelid = format('%I.%I', schemaname, tablename)::regclass) order by 1"
    ).fetchall()
    return {
        name: reader.execute(f"select count(*) from {name}").fetchone()[0]  # noqa: S608
        for name, is_built in names
        for reader in [builder if is_built else connection]
    }


def show_demo(done: DemoResult, json: bool) -> None:
    """Show what the demo made, and where to look next."""
    if json:
        typer.echo(output.as_json(asdict(done)))
        return
    typer.echo("\nLines")
    output.table(
        output.FATES,
        [output.count_cells(done.lines)],
    )
    output.table(("rejected for", "lines"), [(r, f"{n:,}") for r, n in done.rejected.items()])
    typer.echo("\nTables")
    output.table(("table", "rows"), [(name, f"{n:,}") for name, n in done.tables.items()])
    typer.echo("\nThe marketing row, export.analytics_platform_stats")
    output.exported(done.row, json=False)
    typer.echo(f"\n{done.checks_passed} checks passed. Data Docs: {done.docs}")
    typer.echo("\nNext")
    for command, what in done.next_commands.items():
        typer.echo(f"  {command:<42} {what}")
