"""Builds the marts: dbt where there is something new, without it where only time has passed."""

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
# On dbt's path: what dbt tells of errors is told without what rows hold.
DBT_PLUGINS = Path(__file__).parent / "dbt_plugins"
# What runs of dbt leave out: unit tests prove the code, on made-up rows. They belong to the test
# suite.
EXCLUDED: tuple[str, ...] = ("resource_type:unit_test",)


class BuildError(WarehouseError):
    """The build failed; models that failed stand as they stood before."""


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What to build: all that is new, by default. ``end`` is the day after the window's last.

    ``allow_lost_events`` lets typed facts be rebuilt although retention has dropped some events.
    """

    full_refresh: bool = False
    start: date | None = None
    end: date | None = None
    select: str | None = None
    as_of: datetime | None = None
    allow_lost_events: bool = False


@dataclass(frozen=True, slots=True)
class BuildResult:
    """What was built: the batch and instant that it speaks of, and whether dbt had to run."""

    batch_seq: int
    as_of: datetime
    ran_dbt: bool


def build(options: BuildOptions | None = None) -> BuildResult:
    """Build; waits for a build that is running. Raises BuildError or database.DatabaseError."""
    with (
        one_build_at_a_time(),
        database.connect_as_builder(
            autocommit=True, application_name="warehouse build"
        ) as connection,
    ):
        return build_alone(connection, options or BuildOptions())


def build_alone(connection: psycopg.Connection, options: BuildOptions) -> BuildResult:
    """Build, where the caller keeps other builds waiting; ``connection`` is the builder's.

    Raises as ``build`` does.
    """
    _refuse_to_lose_events(connection, options)
    try:
        ran_dbt = not _needs_no_dbt(connection, options)
        if ran_dbt:
            _run_dbt(options)
    except psycopg.errors.RaiseException as error:
        hint = f" {error.diag.message_hint}" if error.diag.message_hint else ""
        raise BuildError(f"{error.diag.message_primary}.{hint}") from error
    row = connection.execute(
        "select batch_seq, as_of from warehouse.builds order by started_at desc limit 1"
    ).fetchone()
    if row is None:
        raise BuildError("dbt ran without taking a pin: is on-run-start in dbt_project.yml?")
    return BuildResult(row[0], row[1], ran_dbt)


def _refuse_to_lose_events(connection: psycopg.Connection, options: BuildOptions) -> None:
    """Refuse a full refresh of everything where some events are in the typed facts alone.

    That of some models is refused by those of them that are typed facts.
    """
    if not options.full_refresh or options.select or options.allow_lost_events:
        return
    row = connection.execute(
        "select count(*), min(month), max(month), sum(events) from staging.dropped_months"
    ).fetchone()
    if row and row[0]:
        raise BuildError(
            f"Retention has dropped {row[3]:,} raw events of {row[0]} months from {row[1]:%Y-%m} "
            f"to {row[2]:%Y-%m}: typed facts that were rebuilt would lose them. All else is "
            "rebuilt by `--full-refresh --select config.incremental_strategy:replace_cells`; to "
            "lose these events, add --allow-lost-events."
        )


def code_digest() -> str:
    """Return a digest of the dbt project's files: the same digest, the same models."""
    digest = hashlib.sha256()
    for path in sorted(DBT_PROJECT.rglob("*")):
        if path.suffix in {".sql", ".yml", ".csv"} and "target" not in path.parts:
            digest.update(str(path.relative_to(DBT_PROJECT)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def dbt_command(command: str) -> list[str]:
    """Return dbt's arguments for `build` or `test`, without what is excluded."""
    return [command, "--exclude", *EXCLUDED]


def dbt_environment() -> dict[str, str]:
    """Return the environment variables with which dbt finds the warehouse, as builds do."""
    environment = database.libpq_environment(database.builder_url())
    password = environment.pop("PGPASSWORD", None)
    return {
        **environment,
        # By this prefix dbt knows what it must not log.
        **({"DBT_ENV_SECRET_PGPASSWORD": password} if password else {}),
        "DBT_TARGET_PATH": str(settings().dbt_target),
        "DBT_LOG_PATH": str(settings().dbt_target / "logs"),
        # Every statement that dbt sends is in its target directory; telling of each once more in a
        # log takes a fifth of a build's time.
        "DBT_LOG_LEVEL_FILE": "info",
        "DBT_PROJECT_DIR": str(DBT_PROJECT),
        "DBT_PROFILES_DIR": str(DBT_PROJECT),
        "PYTHONPATH": os.pathsep.join(
            filter(None, (str(DBT_PLUGINS), os.environ.get("PYTHONPATH")))
        ),
    }


def builder_environment() -> dict[str, str]:
    """Return dbt's environment for builds. What they make belongs to one role, whoever builds.

    Raises DatabaseError where builds can't sign in safely.
    """
    with database.connect_as_builder() as connection:
        environment = dbt_environment()
        if connection.execute("select current_user").fetchone() == (database.BUILDER,):
            environment["PGOPTIONS"] += f" -c role={database.BUILDER}"
    return environment


def _needs_no_dbt(connection: psycopg.Connection, options: BuildOptions) -> bool:
    if options.full_refresh or options.start:
        return False
    # Here, too, so that a wrong --as-of is told before dbt starts.
    connection.execute("select warehouse.refuse_earlier_as_of(%s)", (options.as_of,))
    # What a selection means is for dbt to say.
    return not options.select and slide(connection, options.as_of)


def slide(
    connection: psycopg.Connection,
    as_of: datetime | None = None,
    models: Sequence[str] | None = None,
) -> bool:
    """Build some models (all by default) without dbt where nothing is new.

    Tells whether that was enough; nothing is done where it is not. Raises BuildError where somebody
    holds a table for too long.
    """
    names = None if models is None else list(models)
    with database.watch_blockers(
        lambda: connection.info.backend_pid, database.connect_as_builder
    ) as seen:
        try:
            row = connection.execute(
                "select warehouse.refresh_time_dependent(%s, %s, %s, %s)",
                (str(uuid.uuid4()), as_of, code_digest(), names),
            ).fetchone()
        except psycopg.errors.LockNotAvailable:
            raise BuildError(
                f"A table was held by others for too long. {seen()} Nothing was built; end that "
                "session, or wait for it, and build again."
            ) from None
    return bool(row and row[0])


def _run_dbt(options: BuildOptions) -> None:
    from dbt.cli.main import dbtRunner

    # In this process, whose path is made up already.
    import orchestration.operations.dbt_plugins.dbt_discretion
    import orchestration.operations.dbt_plugins.dbt_one_build  # noqa: F401

    arguments = dbt_command("build")
    if options.full_refresh:
        arguments.append("--full-refresh")
    if options.select:
        # Tests that need a model which is not built would hold this build against an older one.
        arguments += ["--select", options.select, "--indirect-selection", "buildable"]
    # Standard output is for results; dbt's running commentary is for people.
    with (
        environment(build_environment(options)),
        _own_arguments(arguments),
        contextlib.redirect_stdout(sys.stderr),
    ):
        result = dbtRunner().invoke(arguments)
    if result.success:
        if options.select and not list(result.result or ()):  # type: ignore[arg-type]
            raise BuildError(f"Nothing is selected by `--select {options.select}`: nothing ran.")
        return
    if result.exception:
        raise BuildError(f"dbt could not run: {result.exception}")
    failed = [
        f"{run.node.name} ({_first_cause(str(run.message))})"
        for run in result.result  # type: ignore[union-attr]
        if run.status in {"error", "fail", "runtime error"}
    ]
    raise BuildError(
        f"The build failed in {'; '.join(failed)}. What failed stands as it stood; mend it and "
        "build again. The marketing row is not exported meanwhile."
    )


@contextlib.contextmanager
def _own_arguments(arguments: Sequence[str]) -> Iterator[None]:
    """Give dbt its own arguments as those of the process: it writes them into its artifacts.

    This process's may name a person, as those of `warehouse erase` do.
    """
    before = sys.argv
    sys.argv = ["dbt", *arguments]
    try:
        yield
    finally:
        sys.argv = before


def _first_cause(message: str) -> str:
    """Return the line that says why: dbt puts the model's name and path before it."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return lines[1] if len(lines) > 1 and " Error in " in lines[0] else lines[0]


def write_docs() -> Path:
    """Write dbt's site of models and columns as one page; return its path. Raises BuildError."""
    from dbt.cli.main import dbtRunner

    site = settings().dbt_docs
    arguments = ["--quiet", "docs", "generate", "--static", "--target-path", str(site)]
    with (
        environment(builder_environment()),
        _own_arguments(arguments),
        contextlib.redirect_stdout(sys.stderr),
    ):
        result = dbtRunner().invoke(arguments)
    if not result.success:
        raise BuildError(f"dbt could not write its docs: {result.exception}")
    return site / "static_index.html"


def build_environment(options: BuildOptions) -> dict[str, str]:
    """Return dbt's environment for one build: the connection, and what it is pinned to."""
    given = {
        "WAREHOUSE_BUILD_AS_OF": options.as_of.isoformat() if options.as_of else "",
        "WAREHOUSE_BUILD_START": options.start.isoformat() if options.start else "",
        "WAREHOUSE_BUILD_END": options.end.isoformat() if options.end else "",
        "WAREHOUSE_BUILD_ALLOWS_LOST_EVENTS": "true" if options.allow_lost_events else "",
        # A backfill vouches for a window alone.
        "WAREHOUSE_BUILD_CODE_DIGEST": "" if options.start else code_digest(),
    }
    return builder_environment() | given


@contextlib.contextmanager
def one_build_at_a_time() -> Iterator[None]:
    """Wait for the build that is running, and keep others waiting for so long.

    A dbt that was started meanwhile lives on where its builder is killed: it holds a lock of its
    own, for which the next build waits, and without the builder it opens no further session
    (`orchestration/operations/dbt_plugins/dbt_one_build.py`).
    """
    with locks.held(Lock.BUILD) as holder:
        with locks.held(Lock.DBT):
            pass
        with environment({"WAREHOUSE_BUILDER": f"{os.getpid()} {holder}"}):
            yield


@contextlib.contextmanager
def environment(variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables for a while."""
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
