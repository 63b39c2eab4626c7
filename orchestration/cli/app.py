"""The `warehouse` command: registers all commands and turns known errors into one sentence."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from typing import Annotated, NoReturn

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from orchestration.cli.alerts import alerts
from orchestration.cli.api import WithSettings, api
from orchestration.cli.backup import backup, restore
from orchestration.cli.build import build
from orchestration.cli.check import check
from orchestration.cli.collect import collect
from orchestration.cli.demo import demo
from orchestration.cli.docs import docs
from orchestration.cli.environment import environment
from orchestration.cli.erase import erase
from orchestration.cli.expire import expire
from orchestration.cli.export import export
from orchestration.cli.init import init
from orchestration.cli.keys import keys
from orchestration.cli.load import load
from orchestration.cli.load_entities import load_entities
from orchestration.cli.output import message, wants_json
from orchestration.cli.plan import plan
from orchestration.cli.psql import psql
from orchestration.cli.pull import pull
from orchestration.cli.query import query
from orchestration.cli.rejected import rejected
from orchestration.cli.serve import serve
from orchestration.cli.status import status
from orchestration.cli.stop import stop
from orchestration.cli.verify import verify
from warehouse import process
from warehouse.errors import ExitCode, WarehouseError, printable

# As `warehouse --help` lists them: a panel per purpose, in the order in which people need them.
PANELS: dict[str, dict[str, Callable[..., None] | typer.Typer]] = {
    "Start": {"demo": demo, "init": init},
    "Load events and entities": {
        "plan": plan,
        "load": load,
        "load-entities": load_entities,
        "pull": pull,
        "rejected": rejected,
    },
    "Build, check and export": {
        "build": build,
        "check": check,
        "verify": verify,
        "export": export,
    },
    "Watch and query": {
        "status": status,
        "alerts": alerts,
        "query": query,
        "psql": psql,
        "docs": docs,
        "environment": environment,
    },
    "Keep": {"backup": backup, "restore": restore},
    "Delete data": {"erase": erase, "expire": expire},
    "Run": {
        "keys": keys,
        "collect": collect,
        "api": api,
        "serve": serve,
        "stop": stop,
    },
}


class _InOrderOfPanels(TyperGroup):
    def list_commands(self, ctx: typer.Context) -> list[str]:
        return [name for commands in PANELS.values() for name in commands]


app = typer.Typer(
    cls=_InOrderOfPanels,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for panel, commands in PANELS.items():
    for name, command in commands.items():
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name, rich_help_panel=panel)
        else:
            kind = WithSettings if command is api else None
            app.command(name, cls=kind, rich_help_panel=panel)(command)


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"warehouse {version('analytics-warehouse')}")
        raise typer.Exit


@app.callback(
    help="Load product events, build trusted marts and export the marketing row.\n\n"
    "`warehouse COMMAND --help` explains a command."
)
def _before_each_command(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_show_version, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    from warehouse import private_files
    from warehouse.settings import settings

    private_files.make_home_private(settings().home)


def main() -> None:
    """Run the command line; a known error prints one sentence and exits with its code."""
    # A closed standard error is None, which nothing can write to.
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    try:
        process.speak_utf8()
        try:
            _run()
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except SystemExit as end:
        # Typer gives this code to Ctrl-C.
        if end.code == ExitCode.INTERRUPTED:
            _fail(
                "Interrupted. Committed work is kept: run the same command again to continue.",
                ExitCode.INTERRUPTED,
            )
        raise
    except WarehouseError as error:
        _fail(str(error), error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(ExitCode.FAILED) from None
    except OSError as error:
        # Python writes buffered output once more as it exits; on /dev/null that can't fail.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        where = f", {printable(error.filename)}" if isinstance(error.filename, str) else ""
        why = error.strerror or error
        _fail(f"The operating system reported: {why}{where}. {_missing_folder()}".strip())
    except Exception as error:
        psycopg = sys.modules.get("psycopg")
        if psycopg and isinstance(error, psycopg.Error):
            from warehouse.database import NOT_SET_UP, reason

            if error.sqlstate in NOT_SET_UP:
                _fail("The database is not set up for this version: run `warehouse init`.")
            _fail(
                f"The database reported: {reason(error)}. The open transaction was rolled back; "
                "committed work is kept."
            )
        raise


def _run() -> None:
    """Run the command; with `--json` the error of a wrong usage is JSON, too."""
    if not wants_json():
        app(prog_name="warehouse")
        return
    try:
        code = app(prog_name="warehouse", standalone_mode=False)
    except TyperException as error:
        message(error.format_message())
        raise SystemExit(error.exit_code) from None
    raise SystemExit(code or 0)


def _missing_folder() -> str:
    try:
        os.getcwd()
    except OSError:
        return "The current folder is gone: change to another one."
    return ""


def _fail(text: str, code: ExitCode = ExitCode.FAILED) -> NoReturn:
    message(text)
    raise SystemExit(code)
