"""Builds the marts.

dbt runs where there is unread input or changed code. Otherwise a database function refreshes the
time-dependent models alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import psycopg

from warehouse import database, locks
from warehouse.errors import WarehouseError
from warehouse.locks import Lock
from warehouse.settings import PROJECT_DIR, settings

DBT_PROJECT = PROJECT_DIR / "dbt_project"
# On dbt's path, so that dbt loads them.
DBT_PLUGINS = Path(__file__).parent / "dbt_plugins"
# Unit tests prove the code on made-up rows. They belong to the test suite.
EXCLUDED: tuple[str, ...] = ("resource_type:unit_test",)


class BuildError(WarehouseError):
    """The build failed. A model that failed keeps its rows from before."""


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What to build; by default all unread input.

    ``start`` and ``end`` are a half-open window of days, and ``end`` is the day after the last.
    ``allow_lost_events`` lets typed facts be rebuilt although some raw events have expired.
    """

    full_refresh: bool = False
    start: date | None = None
    end: date | None = None
    select: str | None = None
    as_of: datetime | None = None
    allow_lost_events: bool = False


@dataclass(frozen=True, slots=True)
class BuildResult:
    """What was built: the newest batch that was read, ``as_of``, and whether dbt ran."""

    batch_seq: int
    as_of: datetime
    ran_dbt: bool


def build(options: BuildOptions | None = None) -> BuildResult:
    """Build, after any build that is running. Raises BuildError or database.DatabaseError."""
    with (
        one_build_at_a_time(),
        database.connect_as_builder(
            autocommit=True, application_name="warehouse build"
        ) as connection,
    ):
        return build_under_lock(connection, options or BuildOptions())


def build_under_lock(connection: psycopg.Connection, options: BuildOptions) -> BuildResult:
    """Build while the caller holds the lock of builds; ``connection`` is the builder's.

    Raises the same errors as ``build``.
    """
    _refuse_to_lose_events(connection, options)
    try:
        ran_dbt = not _build_without_dbt(connection, options)
        if ran_dbt:
            _run_dbt(options)
    except psycopg.errors.RaiseException as error:
        hint = f" {error.diag.message_hint}" if error.diag.message_hint else ""
        raise BuildError(f"{error.diag.message_primary}.{hint}") from error
    row = connection.execute(
        "select batch_seq, as_of from warehouse.builds order by started_at desc limit 1"
    ).fetchone()
    if row is None:
        raise BuildError(
            "dbt ran without recording a build: is on-run-start still in dbt_project.yml?"
        )
    return BuildResult(row[0], row[1], ran_dbt)


def _refuse_to_lose_events(connection: psycopg.Connection, options: BuildOptions) -> None:
    """Refuse a full refresh of everything while typed facts hold events that have expired.

    A full refresh of selected models is refused by the typed facts among them, in dbt.
    """
    if not options.full_refresh or options.select or options.allow_lost_events:
        return
    row = connection.execute(
        "select count(*), min(month), max(month), sum(events) from staging.dropped_months"
    ).fetchone()
    if row and row[0]:
        raise BuildError(
            f"{row[3]:,} raw events of {row[0]} months from {row[1]:%Y-%m} to {row[2]:%Y-%m} have "
            "expired, so rebuilt typed facts would lose them. To rebuild everything else, use "
            "`--full-refresh --select config.incremental_strategy:replace_cells`. To lose these "
            "events, add --allow-lost-events."
        )


def code_digest() -> str:
    """Return a digest of the dbt project's files. The same digest means the same models."""
    digest = hashlib.sha256()
    for path in sorted(DBT_PROJECT.rglob("*")):
        if path.suffix in {".sql", ".yml", ".csv"} and "target" not in path.parts:
            digest.update(str(path.relative_to(DBT_PROJECT)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def dbt_command(command: str) -> list[str]:
    """Return dbt's arguments for `build` or `test`, with the exclusions."""
    return [command, "--exclude", *EXCLUDED]


def dbt_environment() -> dict[str, str]:
    """Return the environment variables by which dbt connects to the warehouse."""
    environment = database.libpq_environment(database.builder_url())
    password = environment.pop("PGPASSWORD", None)
    return {
        **environment,
        # dbt logs no variable with this prefix.
        **({"DBT_ENV_SECRET_PGPASSWORD": password} if password else {}),
        "DBT_TARGET_PATH": str(settings().dbt_target),
        "DBT_LOG_PATH": str(settings().dbt_target / "logs"),
        # dbt's target directory holds every statement. Logging each of them again would take a
        # fifth of a build's time.
        "DBT_LOG_LEVEL_FILE": "info",
        "DBT_PROJECT_DIR": str(DBT_PROJECT),
        "DBT_PROFILES_DIR": str(DBT_PROJECT),
        "PYTHONPATH": os.pathsep.join(
            filter(None, (str(DBT_PLUGINS), os.environ.get("PYTHONPATH")))
        ),
    }


def builder_environment() -> dict[str, str]:
    """Return dbt's environment for builds. One role owns all models, whoever builds them.

    Raises DatabaseError where builds can't sign in safely.
    """
    with database.connect_as_builder() as connection:
        environment = dbt_environment()
        if connection.execute("select current_user").fetchone() == (database.BUILDER,):
            environment["PGOPTIONS"] += f" -c role={database.BUILDER}"
    return environment


def _build_without_dbt(connection: psycopg.Connection, options: BuildOptions) -> bool:
    """Build without dbt where that is enough; return whether it was."""
    if options.full_refresh or options.start:
        return False
    # dbt checks this, too. Here, a wrong --as-of is reported before dbt starts.
    connection.execute("select warehouse.refuse_earlier_as_of(%s)", (options.as_of,))
    # Only dbt can resolve a selection.
    return not options.select and refresh_time_dependent(connection, options.as_of)


def refresh_time_dependent(
    connection: psycopg.Connection,
    as_of: datetime | None = None,
    models: Sequence[str] | None = None,
) -> bool:
    """Refresh the time-dependent ones of some models (by default of all), without dbt.

    Returns False, and changes nothing, where dbt has to build: there is unread input, or the last
    build was of other code. Raises BuildError where another session locks a table for too long.
    """
    names = None if models is None else list(models)
    with database.watch_blockers(
        lambda: connection.info.backend_pid, database.connect_as_builder
    ) as blockers:
        try:
            row = connection.execute(
                "select warehouse.refresh_time_dependent(%s, %s, %s, %s)",
                (str(uuid.uuid4()), as_of, code_digest(), names),
            ).fetchone()
        except psycopg.errors.LockNotAvailable:
            raise BuildError(
                f"Another session held a lock on a table for too long. {blockers()} Nothing was "
                "built. Wait for that session or end it, then build again."
            ) from None
    return bool(row and row[0])


def _run_dbt(options: BuildOptions) -> None:
    from dbt.cli.main import dbtRunner

    # dbt loads plugins by PYTHONPATH, which Python reads only when a process starts.
    import orchestration.operations.dbt_plugins.dbt_redact_errors
    import orchestration.operations.dbt_plugins.dbt_stop_with_builder  # noqa: F401

    arguments = dbt_command("build")
    if options.full_refresh:
        arguments.append("--full-refresh")
    if options.select:
        # A test that also reads a model outside the selection would compare builds of two ages.
        arguments += ["--select", options.select, "--indirect-selection", "buildable"]
    if not sys.stderr.isatty() or os.environ.get("NO_COLOR"):
        arguments.append("--no-use-colors")
    # Standard output is for results, dbt's progress for people.
    with (
        environment(build_environment(options)),
        _process_arguments(arguments),
        contextlib.redirect_stdout(sys.stderr),
    ):
        result = dbtRunner().invoke(arguments)
    if result.success:
        if options.select and not list(result.result or ()):  # type: ignore[arg-type]
            raise BuildError(f"`--select {options.select}` selects nothing: nothing was built.")
        return
    if result.exception:
        raise BuildError(f"dbt could not run: {result.exception}")
    failed = [
        f"{run.node.name} ({_first_cause(str(run.message))})"
        for run in result.result  # type: ignore[union-attr]
        if run.status in {"error", "fail", "runtime error"}
    ]
    raise BuildError(
        f"The build failed in {'; '.join(failed)}. Models that failed keep their previous rows, "
        "and the marketing row is not exported. Fix the cause and build again."
    )


@contextlib.contextmanager
def _process_arguments(arguments: Sequence[str]) -> Iterator[None]:
    """Replace the process's arguments by dbt's own, because dbt writes them into its artifacts.

    Those of `warehouse erase`, say, name a person.
    """
    before = sys.argv
    sys.argv = ["dbt", *arguments]
    try:
        yield
    finally:
        sys.argv = before


def _first_cause(message: str) -> str:
    """Return the line that says why. dbt puts a line with the model's name and path before it."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return lines[1] if len(lines) > 1 and " Error in " in lines[0] else lines[0]


def write_docs() -> Path:
    """Write dbt's site of models and columns as one page; return its path. Raises BuildError."""
    from dbt.cli.main import dbtRunner

    site = settings().dbt_docs
    arguments = ["--quiet", "docs", "generate", "--static", "--target-path", str(site)]
    with (
        environment(builder_environment()),
        _process_arguments(arguments),
        contextlib.redirect_stdout(sys.stderr),
    ):
        result = dbtRunner().invoke(arguments)
    if not result.success:
        raise BuildError(f"dbt could not write its docs: {result.exception}")
    return site / "static_index.html"


def build_environment(options: BuildOptions) -> dict[str, str]:
    """Return dbt's environment for one build: the connection, and the build's options."""
    given = {
        "WAREHOUSE_BUILD_AS_OF": options.as_of.isoformat() if options.as_of else "",
        "WAREHOUSE_BUILD_START": options.start.isoformat() if options.start else "",
        "WAREHOUSE_BUILD_END": options.end.isoformat() if options.end else "",
        "WAREHOUSE_BUILD_ALLOWS_LOST_EVENTS": "true" if options.allow_lost_events else "",
        # A backfill builds one window: the rest of the table may still be of older code.
        "WAREHOUSE_BUILD_CODE_DIGEST": "" if options.start else code_digest(),
    }
    return builder_environment() | given


@contextlib.contextmanager
def one_build_at_a_time() -> Iterator[None]:
    """Hold the lock of builds; waits for the build that is running.

    Then waits for a dbt whose builder was killed: it outlives the builder, holds a lock of its own,
    and opens no further session (`dbt_plugins/dbt_stop_with_builder.py`).
    """
    with locks.held(Lock.BUILD) as holder:
        with locks.held(Lock.DBT):
            pass
        with environment({"WAREHOUSE_BUILDER": f"{os.getpid()} {holder}"}):
            yield


@contextlib.contextmanager
def environment(variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables inside the context."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
