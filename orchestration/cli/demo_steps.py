"""The steps of the demo. Apart from the command, as they import all that is heavy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import psycopg

from expectations import checks
from ingestion.load import entities
from ingestion.load.ledger import EVENTS, Counts, finished_load
from ingestion.load.loader import load
from ingestion.load.workers import Workers
from ingestion.sample import generate
from ingestion.sample.crm import create_crm
from ingestion.sample.timeline import SAMPLE_AS_OF, SAMPLE_MONTH
from ingestion.sources.files import open_source
from orchestration.cli.output import load_progress, step
from orchestration.operations.build import BuildOptions, build
from orchestration.operations.export import StatsRow, export_row
from orchestration.operations.failing_rows import warnings
from warehouse import database, private_files
from warehouse.errors import WarehouseError
from warehouse.key_store import example_keys
from warehouse.schema.migrate import migrate
from warehouse.settings import settings
from warehouse.sign_in_links import new_link
from warehouse.sql_files import read_sql

STORY = read_sql(__file__, "demo_story")


class DemoError(WarehouseError):
    """The demo can't run here."""


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo made. ``rejected`` counts lines by reason, ``tables`` rows by name.

    ``story`` has sentences on what there is to see, each with a command that shows more.
    ``crm_url`` is the URL of a CRM, a database beside the warehouse that can be pulled from.
    """

    lines: Counts
    rejected: dict[str, int]
    story: dict[str, str]
    warnings: list[str]
    tables: dict[str, int]
    row: StatsRow
    checks_passed: int
    docs: Path
    keys: list[str]
    crm_url: str
    next_commands: dict[str, str]


NEXT_COMMANDS = {
    "make dev": "start the Dagster UI, the HTTP API and the collector with a demo site (/demo/)",
    "source .venv/bin/activate": "make the command `warehouse` available, then",
    "warehouse psql": "query the marts with SQL",
    "warehouse status": "see how fresh each mart is",
    "warehouse query": "list the ready queries",
    "warehouse rejected list": "see which lines were rejected, and why",
    "warehouse plan": "read which events the tracking plan allows",
    "warehouse load FILE": "load your own events",
    "warehouse build && warehouse check": "bring the marts up to date",
}


def run_demo(*, verbose: bool = False) -> DemoResult:
    """Set up, load the sample, build, check and export; a second run changes nothing.

    The last file comes after a first build: it has late events of the months before. Without
    ``verbose`` the output of builds and checks goes into a file.

    Raises DemoError on a server that may hold real events.
    """
    if not database.is_embedded():
        raise DemoError(
            "The demo runs only on the embedded server: on the server in WAREHOUSE_DATABASE_URL "
            "its sample would mix with real events. Unset the variable to run the demo."
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
            step("Generating a sample of four and a half months of events")
            files = generate.write_sample(directory)
            _load(replace(files, events=files.events[:-1]), connection)
            step(f"Building the marts as of {SAMPLE_MONTH:%Y-%m-%d}")
            _build(builder, SAMPLE_MONTH, verbose)
            _load(files, connection)
            connection.execute(
                "insert into staging.loads (kind, source, head_digest, state, ended_at) "
                "values ('demo', 'demo', '', 'finished', clock_timestamp())"
            )
        step(f"Building what has changed, as of {SAMPLE_AS_OF:%Y-%m-%d}")
        _build(builder, SAMPLE_AS_OF, verbose)
        step("Checking")
        with _output(verbose):
            results = checks.run_checks(docs=True)
        step("Exporting the marketing row")
        row = export_row()
        step("Creating a CRM beside the warehouse")
        crm_url = create_crm()
        return DemoResult(
            lines=_lines(connection),
            rejected=_rejected(connection),
            story=dict(builder.execute(STORY).fetchall()),
            warnings=warnings(builder),
            tables=_tables(connection, builder),
            row=row,
            checks_passed=sum(result.passed for result in results),
            docs=checks.docs_page(),
            keys=example_keys(),
            crm_url=crm_url,
            next_commands=NEXT_COMMANDS,
        )


def _build(builder: psycopg.Connection, as_of: datetime, verbose: bool) -> None:
    last = builder.execute(
        "select max(as_of) from warehouse.builds where state = 'done'"
    ).fetchone()
    with _output(verbose):
        # Never earlier than the last build: `as_of` only moves forward.
        build(BuildOptions(as_of=max(filter(None, (as_of, last and last[0])))))


@contextmanager
def _output(verbose: bool) -> Iterator[None]:
    """Write what dbt and others print on standard error, for people, into a file instead."""
    if verbose:
        yield
        return
    path = settings().home / "demo.log"
    with path.open("a") as log, redirect_stderr(log):
        yield


def sign_in_link() -> str:
    """Return a link that signs an analyst in once."""
    with database.connect() as connection:
        return new_link(connection, settings().home, settings().api_url.rstrip("/"))


def _load(files: generate.SampleFiles, connection: psycopg.Connection) -> None:
    """Load the files of the sample that an interrupted demo has not loaded yet."""
    for kind in entities.EntityKind:
        source = open_source(str(files.entities[kind]))
        if not finished_load(connection, kind, source.name):
            step(f"Loading {kind}")
            entities.load_entities(kind, source)
    with Workers() as workers:
        for file in files.events:
            source = open_source(str(file))
            if not finished_load(connection, EVENTS, source.name):
                step(f"Loading {file.name}")
                with load_progress(source) as progress:
                    load(source, progress, workers)


def _is_loaded(connection: psycopg.Connection) -> bool:
    row = connection.execute(
        "select exists (select 1 from staging.loads where kind = 'demo' and state = 'finished')"
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
    """Return the number of rows by table, a partitioned table as one.

    The builder's connection reads what builds wrote.
    """
    names = connection.execute(
        "select format('%I.%I', schemaname, tablename), "
        "schemaname in ('intermediate', 'marts') from pg_tables where schemaname in "
        "('staging', 'intermediate', 'marts', 'export') and not exists (select 1 from pg_inherits "
        "where inhrelid = format('%I.%I', schemaname, tablename)::regclass) order by 1"
    ).fetchall()
    return {
        name: reader.execute(f"select count(*) from {name}").fetchone()[0]  # noqa: S608
        for name, is_built in names
        for reader in [builder if is_built else connection]
    }
