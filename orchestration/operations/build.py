"""Builds the marts.

dbt compiles the models and stores their statements in the database, which executes them
(`stored_build.py`). dbt runs only where something must be compiled: see ``why_dbt``.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import psycopg

from orchestration.operations import stored_build
from orchestration.operations.build_options import BuildOptions
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
class BuildResult:
    """What was built: the newest batch that was read, ``as_of``, and why dbt ran, if it did."""

    batch_seq: int
    as_of: datetime
    why_dbt: str | None

    @property
    def ran_dbt(self) -> bool:
        """Whether dbt ran."""
        return self.why_dbt is not None


def build(options: BuildOptions | None = None) -> BuildResult:
    """Build, after any build that is running. Raises BuildError or database.DatabaseError."""
    with (
        one_build_at_a_time() as builder,
        database.connect_as_builder(
            autocommit=True, application_name="warehouse build"
        ) as connection,
    ):
        return build_under_lock(connection, options or BuildOptions(), builder)


def build_under_lock(
    connection: psycopg.Connection, options: BuildOptions, builder: int
) -> BuildResult:
    """Build while the caller's session ``builder`` holds the lock of builds.

    ``connection`` is the builder's. Raises the same errors as ``build``.
    """
    _refuse_to_lose_events(connection, options)
    try:
        if not options.full_refresh and not options.start:
            # dbt checks this, too. Here, a wrong --as-of is reported before dbt starts.
            connection.execute("select warehouse.refuse_earlier_as_of(%s)", (options.as_of,))
        reason = why_dbt(connection, options)
        if reason:
            print(f"dbt runs: {reason}.", file=sys.stderr)
            _run_dbt(options)
        else:
            raise_failures(stored_build.run(connection, options, builder).failed)
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
    return BuildResult(row[0], row[1], reason)


def why_dbt(
    connection: psycopg.Connection, options: BuildOptions, nodes: Iterable[str] | None = None
) -> str | None:
    """Return why a build of some nodes (by default all) has to run dbt; None if it need not."""
    if options.select:
        return "only dbt resolves a selection"
    row = connection.execute(
        "select warehouse.why_dbt(%s, %s)",
        (code_digest(), None if nodes is None else sorted(nodes)),
    ).fetchone()
    return row[0] if row else None


def raise_failures(failed: Mapping[str, str]) -> None:
    """Raise BuildError if models or tests failed; each with its reason."""
    if failed:
        raise BuildError(
            f"The build failed in {'; '.join(f'{name} ({why})' for name, why in failed.items())}. "
            "Models that failed keep their previous rows, and the marketing row is not exported. "
            "Fix the cause and build again."
        )


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
    """Return a digest of the dbt project's files, and of dbt's version, which compiles them.

    The same digest means the same models.
    """
    digest = hashlib.sha256(f"{version('dbt-core')} {version('dbt-postgres')}".encode())
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
    raise_failures(
        {
            run.node.name: _first_cause(str(run.message))
            for run in result.result  # type: ignore[union-attr]
            if run.status in {"error", "fail", "runtime error"}
        }
    )
    raise BuildError("dbt failed without naming what failed: see its log.")


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
        "WAREHOUSE_BUILD_CODE_DIGEST": code_digest(),
    }
    return builder_environment() | given


@contextlib.contextmanager
def one_build_at_a_time() -> Iterator[int]:
    """Hold the lock of builds; yield the process of the session that holds it.

    Waits for the build that is running.

    Then waits for a dbt whose builder was killed: it outlives the builder, holds a lock of its own,
    and opens no further session (`dbt_plugins/dbt_stop_with_builder.py`).
    """
    with locks.held(Lock.BUILD) as holder:
        with locks.held(Lock.DBT):
            pass
        with environment({"WAREHOUSE_BUILDER": f"{os.getpid()} {holder}"}):
            yield holder


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
