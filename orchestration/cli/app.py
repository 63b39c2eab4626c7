"""The command line. Imports stand inside the commands, so that each starts at once."""

from __future__ import annotations

import contextlib
import getpass
import os
import sys
from collections.abc import Callable
from datetime import date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeVar

import typer

from warehouse import process
from warehouse.errors import ExitCode, WarehouseError, printable

if TYPE_CHECKING:
    from ingestion.load.ledger import Counts
    from ingestion.load.loader import LoadResult

# What Typer makes of Ctrl-C.
INTERRUPTED = 130


class Kind(StrEnum):
    """The kinds of entities; a test holds it equal to ingestion.load.entities.EntityKind."""

    CLIENTS = "clients"
    UNITS = "units"
    USERS = "users"
    DOCUMENTS = "documents"


def _parse_day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no day such as 2026-01-31") from None


def _parse_instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = datetime.min
    if instant.tzinfo is None:
        raise typer.BadParameter(f"{text!r} is no time with offset such as 2026-01-31T00:00:00Z")
    return instant


app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
rejected = typer.Typer(no_args_is_help=True, help="Look at refused lines, and replay them.")
app.add_typer(rejected, name="rejected")
alerts = typer.Typer(no_args_is_help=True, help="See alerts, and say what is done about them.")
app.add_typer(alerts, name="alerts")


def _user() -> str:
    """Return who runs this; by number where the system has no name, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
By = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Who does it: you, by default; `-` reads a name from standard input.",
        default_factory=_user,
    ),
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 3 if lines were rejected.")]
Loaded = TypeVar("Loaded")


def main() -> None:
    """Run the command line; every known failure is one clear sentence and exit code 1."""
    # Closed, it is None, which is no stream to ask or to write to.
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    try:
        process.speak_utf8()
        try:
            app()
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except SystemExit as end:
        if end.code == INTERRUPTED:
            _fail("Interrupted. What is committed stays; the same command goes on from there.")
        raise
    except WarehouseError as error:
        _fail(str(error), error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(ExitCode.FAILED) from None
    except OSError as error:
        # What could not be written would be tried once more as Python ends, and end in a traceback.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        where = f", {printable(error.filename)}" if isinstance(error.filename, str) else ""
        _fail(f"The system refused: {error.strerror or error}{where}. {_folder_is_gone()}".strip())
    except Exception as error:
        psycopg = sys.modules.get("psycopg")
        if psycopg and isinstance(error, psycopg.Error):
            from warehouse.database import NOT_SET_UP, reason

            if error.sqlstate in NOT_SET_UP:
                _fail("The database is not set up for this version: run `warehouse init`.")

            _fail(f"The database refused: {reason(error)}. Nothing is half done.")
        raise


def _folder_is_gone() -> str:
    try:
        os.getcwd()
    except OSError:
        return "The current folder is gone: change to another one."
    return ""


def _fail(message: str, code: ExitCode = ExitCode.FAILED) -> NoReturn:
    _tell(message)
    raise SystemExit(code)


def _tell(message: str) -> None:
    typer.echo(f"warehouse: {message}", err=True)


@app.callback(help="Product events in, trusted marts and one marketing row out.")
def _before_each_command() -> None:
    from warehouse import private_files
    from warehouse.settings import settings

    private_files.make_home_private(settings().home)


# Where a person or client is named, this reads who from standard input: arguments stand in the list
# of processes, which everybody on the machine may read.
FROM_STANDARD_INPUT = "-"


def _read_names(**options: str | None) -> dict[str, str | None]:
    """Return options' values, of one of which `-` stands for the line on standard input."""
    asking = [name for name, value in options.items() if value == FROM_STANDARD_INPUT]
    if not asking:
        return options
    if len(asking) > 1:
        names = " and ".join(f"--{name.replace('_', '-')}" for name in asking)
        raise typer.BadParameter(f"{names} can't both be read from standard input")
    try:
        given = "" if sys.stdin is None else sys.stdin.buffer.read().decode()
    except UnicodeDecodeError:
        raise typer.BadParameter("standard input is no UTF-8 text") from None
    line = given.removesuffix("\n").removesuffix("\r")
    if not line or "\n" in line:
        what = "several lines" if line else "none"
        raise typer.BadParameter(f"expected one line on standard input, got {what}")
    return options | {asking[0]: line}


@app.command()
def init(json: Json = False) -> None:
    """Set the database up, or bring it up to date. Safe at any time."""
    from orchestration.cli import output
    from warehouse import database, private_files
    from warehouse.schema.migrate import migrate
    from warehouse.settings import settings

    migrated = migrate()
    private_files.tighten_home(settings().home)
    done = f"ran {len(migrated.ran)} migrations" if migrated.ran else "was up to date"
    text = f"The warehouse at {database.where()} {done}."
    if migrated.for_dba:
        text += " It works; a DBA of the server must run, for roles to have their rights:"
    output.result(
        {"migrations": migrated.ran, "for_dba": migrated.for_dba},
        "\n".join([text, *migrated.for_dba]),
        json,
    )


@app.command()
def load(
    files: Annotated[list[str], typer.Argument(metavar="FILE…", help="`-` is standard input.")],
    mapping: Annotated[
        str | None, typer.Option("--map", help="A DuckDB select that turns the file into events.")
    ] = None,
    strict: Strict = False,
    json: Json = False,
) -> None:
    """Load event files: NDJSON, plain, .gz or .zst, or any other by a mapping."""
    from ingestion.load.loader import load as load_source
    from ingestion.sources import mapping as mappings
    from ingestion.sources.files import open_source
    from orchestration.cli import output

    found = mappings.find_mapping(mapping) if mapping else None

    def load_one(file: str) -> LoadResult:
        source = open_source(file, found)
        with output.load_progress(source) as progress:
            return load_source(source, progress)

    results = _of_each(files, load_one, lambda results: output.loaded(results, json))
    _exit_if_rejected(sum(result.counts.rejected for result in results), strict)


@app.command("load-entities")
def load_entities(
    kind: Kind,
    files: Annotated[list[str], typer.Argument(metavar="FILE…")],
    strict: Strict = False,
    json: Json = False,
) -> None:
    """Load clients, units, users or documents: NDJSON or CSV, plain, .gz or .zst."""
    from ingestion.load import entities
    from ingestion.sources.files import open_source
    from orchestration.cli import output

    def load_one(file: str) -> Counts:
        return entities.load_entities(entities.EntityKind(kind.value), open_source(file))

    of_each = _of_each(files, load_one, lambda of_each: output.entities_loaded(kind, of_each, json))
    _exit_if_rejected(sum(counts.rejected for counts in of_each), strict)


def _of_each(
    files: list[str], load: Callable[[str], Loaded], show: Callable[[list[Loaded]], None]
) -> list[Loaded]:
    """Load each file and show what became of them; one that can't be read holds up no other."""
    from ingestion.sources.files import SourceError

    loaded = []
    try:
        for file in files:
            try:
                loaded.append(load(file))
            except SourceError as error:
                _tell(str(error))
    finally:
        # Of those before the one that broke off, too.
        if loaded:
            show(loaded)
    if len(loaded) < len(files):
        raise SystemExit(ExitCode.FAILED)
    return loaded


def _exit_if_rejected(count: int, strict: bool) -> None:
    if strict and count:
        raise SystemExit(ExitCode.REJECTED)


@app.command()
def plan() -> None:
    """Print the tracking plan as a reference page for producers (Markdown)."""
    from ingestion.contract.reference_page import reference_page
    from ingestion.contract.tracking_plan import tracking_plan

    typer.echo("\n".join(reference_page(tracking_plan())))


@rejected.command("list")
def rejected_list(json: Json = False) -> None:
    """List what was refused, by reason and source."""
    from ingestion.load.quarantine import rejected_groups
    from orchestration.cli import output
    from warehouse import database

    with database.connect() as connection:
        output.rejected_groups(rejected_groups(connection), json)


@rejected.command("show")
def rejected_show(reject_id: int, json: Json = False) -> None:
    """Show one refused line: why, where it stood, and its bytes."""
    from ingestion.load.quarantine import rejected_line
    from orchestration.cli import output
    from warehouse import database

    with database.connect() as connection:
        line = rejected_line(connection, reject_id)
    if line is None:
        _fail(f"There is no reject {reject_id}; see `warehouse rejected list`.")
    output.rejected_line(line, json)


@rejected.command("replay")
def rejected_replay(
    reason: Annotated[str | None, typer.Option(help="Only lines refused for this reason.")] = None,
    strict: Strict = False,
    json: Json = False,
) -> None:
    """Send refused events through the same path again, after the tracking plan was mended.

    What a mapping made of a file waits as it made it: after the mapping was mended load the file
    again.
    """
    from ingestion.load.quarantine import replay
    from orchestration.cli import output

    counts = replay(reason)
    output.counts("Replayed", counts, json)
    _exit_if_rejected(counts.rejected, strict)


@app.command()
def build(
    full_refresh: Annotated[
        bool, typer.Option("--full-refresh", help="Recompute everything, in place.")
    ] = False,
    start: Annotated[
        date | None,
        typer.Option(
            parser=_parse_day, help="Backfill from this day on; the week and month of it whole."
        ),
    ] = None,
    end: Annotated[
        date | None,
        typer.Option(parser=_parse_day, help="Backfill up to, not including, this day."),
    ] = None,
    select: Annotated[str | None, typer.Option(help="dbt's selection of models.")] = None,
    as_of: Annotated[
        datetime | None,
        typer.Option(parser=_parse_instant, help="The instant to look from; default now."),
    ] = None,
    allow_lost_events: Annotated[
        bool,
        typer.Option(
            "--allow-lost-events", help="Rebuild typed facts less what retention has dropped."
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Build the marts from what is new."""
    from orchestration.cli import output
    from orchestration.operations import build as builds

    if (start is None) != (end is None) or (start and end and start >= end):
        raise typer.BadParameter("a window has a --start and a later --end, the day after its last")
    if start and (as_of or full_refresh):
        raise typer.BadParameter("a window is recomputed as of the last build, and not in full")
    result = builds.build(
        builds.BuildOptions(full_refresh, start, end, select, as_of, allow_lost_events)
    )
    output.built(result, json)


@app.command()
def check(
    docs: Annotated[bool, typer.Option("--docs", help="Write the Data Docs site.")] = False,
    json: Json = False,
) -> None:
    """Check what landed and what was built since the last check."""
    from expectations import checks
    from orchestration.cli import output

    results = checks.run_checks(docs=docs)
    output.checked(results, checks.docs_page() if docs else None, json)
    if any(not result.passed and result.severity == "error" for result in results):
        raise SystemExit(ExitCode.CHECK_FAILED)


@app.command()
def export(
    accept: Annotated[
        bool, typer.Option("--accept", help="Let a change beyond the bounds pass: it is right.")
    ] = False,
    json: Json = False,
) -> None:
    """Write the marketing row, if every blocking check has passed."""
    from orchestration.cli import output
    from orchestration.operations.export import export_row

    output.exported(export_row(_user() if accept else None), json)


@app.command()
def status(json: Json = False) -> None:
    """Show how every mart stands: rows, what it has read, how old it is, its last checks."""
    from orchestration.cli import output
    from orchestration.operations.status import mart_statuses
    from warehouse import database

    with database.connect_as_builder() as connection:
        output.statuses(mart_statuses(connection), json)


@alerts.command("list")
def alerts_list(
    all: Annotated[bool, typer.Option("--all", help="Those that are resolved, too.")] = False,
    json: Json = False,
) -> None:
    """List the alerts that stand, the newest first."""
    from orchestration.cli import output
    from orchestration.operations.alerts import alerts
    from warehouse import database

    with database.connect_as_builder() as connection:
        output.alerts(alerts(connection, include_resolved=all), json)


@alerts.command("ack")
def alerts_ack(alert_id: str, by: By, json: Json = False) -> None:
    """Say that somebody looks after an alert."""
    _act(alert_id, "acknowledged", by, json)


@alerts.command("resolve")
def alerts_resolve(alert_id: str, by: By, json: Json = False) -> None:
    """Say that an alert is over, or none."""
    _act(alert_id, "resolved", by, json)


def _act(alert_id: str, action: str, by: str, json: bool) -> None:
    from orchestration.cli import output
    from orchestration.operations.alerts import Action, act
    from warehouse import database

    name = _read_names(by=by)["by"] or ""
    with database.connect() as connection, database.connect_as_builder() as reader:
        output.alerts([act(connection, reader, alert_id, Action(action), name)], json)


@app.command()
def demo(json: Json = False) -> None:
    """Load a generated sample, build, check, export, and show what came of it."""
    from orchestration.cli.demo import run_demo, show_demo

    show_demo(run_demo(), json)


@app.command()
def erase(
    by: By,
    user_id: Annotated[str | None, typer.Option(help="A user, under whatever client.")] = None,
    lead_id: Annotated[
        str | None, typer.Option(help="A lead; with --client-id that client's alone.")
    ] = None,
    anonymous_id: Annotated[
        str | None, typer.Option(help="A visitor; with --client-id of that client alone.")
    ] = None,
    client_id: Annotated[str | None, typer.Option(help="A whole client.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing; tell what would go.")
    ] = False,
    json: Json = False,
) -> None:
    """Remove a person or client from the warehouse for good, and leave a receipt.

    An identifier that is `-` is read from standard input, and then stands in no list of processes.
    """
    from orchestration.cli import output
    from orchestration.operations import erase as erasing

    kinds = erasing.SubjectKind
    read = _read_names(
        user_id=user_id, lead_id=lead_id, anonymous_id=anonymous_id, client_id=client_id, by=by
    )
    named_by_argument = any(
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
        raise typer.BadParameter("a user is the same under all clients: leave --client-id out")
    if named_by_argument:
        _tell(
            f"the list of processes shows who is erased; `--{kind.replace('_', '-')} -` reads that "
            "from standard input."
        )
    receipt = erasing.erase(erasing.Subject(kind, identifier, client_id), by, dry_run)
    output.erased(receipt, json)


@app.command()
def retain(
    days: Annotated[
        int | None,
        typer.Option(min=1, max=36_500, help="How long raw events are kept; default 365."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing; tell what would go.")
    ] = False,
    json: Json = False,
) -> None:
    """Drop what is past its time: raw events, payloads, dropped files, restatements."""
    from orchestration.cli import output
    from orchestration.operations.expire import retain as retain_days

    output.retained(retain_days(days, dry_run), json)


@app.command()
def docs() -> None:
    """Write the site that describes every model and column."""
    from orchestration.operations.build import write_docs

    typer.echo(f"The site: {write_docs()}")


@app.command()
def psql(
    arguments: Annotated[list[str] | None, typer.Argument()] = None,
    builder: Annotated[
        bool,
        typer.Option("--builder", help="As a builder, to read what builders wrote."),
    ] = False,
) -> None:
    """Open psql on the warehouse; what follows `--` goes to psql."""
    import shutil

    from warehouse import database, embedded

    (database.connect_as_builder if builder else database.connect)().close()
    url = database.builder_url() if builder else database.url()
    environment = os.environ | database.libpq_environment(url)
    program = shutil.which("psql") or str(embedded.program("psql"))
    os.execve(program, [program, *(arguments or [])], environment)  # noqa: S606


@app.command()
def environment() -> None:
    """Print the environment with which bare `dbt` finds the warehouse, for `eval`."""
    import shlex

    from orchestration.operations.build import builder_environment
    from warehouse.session import unwanted_variables

    typer.echo(f"unset {' '.join(unwanted_variables())}")
    for name, value in builder_environment().items():
        typer.echo(f"export {name}={shlex.quote(value)}")


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Where the web server listens.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="At which port.")] = 3000,
    docs_port: Annotated[int, typer.Option(help="At which the docs that it links to.")] = 3001,
    dev: Annotated[
        bool,
        typer.Option(
            "--dev", help="For trying out: `Reload definitions` in the UI reads code again."
        ),
    ] = False,
) -> None:
    """Run Dagster, its UI and the daemon of the schedules, until Ctrl-C or SIGTERM."""
    from orchestration.serve import processes

    processes.serve(host, port, docs_port, dev=dev)


@app.command()
def stop() -> None:
    """Stop the embedded server, which otherwise runs on in the background."""
    from warehouse import embedded

    was_running = embedded.stop()
    typer.echo("Stopped." if was_running else "It was not running.")


if __name__ == "__main__":
    main()
