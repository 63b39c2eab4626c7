"""Exports the marketing row in one transaction, and only when every blocking check has passed.

The target is the warehouse's own schema `export`, or another PostgreSQL database. In both cases the
warehouse keeps a history of the rows that were exported, and of those that were refused because
they changed too much.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal

import psycopg
from psycopg.rows import class_row

from warehouse import database, locks
from warehouse.errors import ExitCode, WarehouseError
from warehouse.locks import Lock
from warehouse.settings import settings
from warehouse.sql_files import read_sql


class ExportBlockedError(WarehouseError):
    """A check blocks the export; the last exported row is unchanged."""

    exit_code = ExitCode.CHECK_FAILED


class ExportTargetError(WarehouseError):
    """The row can't be written to its target; the last exported row is unchanged."""


@dataclass(frozen=True, slots=True)
class StatsRow:
    """The marketing row, as ``export.analytics_platform_stats`` holds it."""

    active_users: int
    questions_answered: int
    pdf_downloads: int
    engagement_rate: Decimal | None
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Origin:
    """The build of a row, the newest batch that it read, and when the row was checked."""

    build: str
    batch_seq: int
    checked_at: datetime


# A smaller increase is never refused: a factor means little for small numbers.
SMALLEST_JUMP = 1000
ROW_UNCHANGED = "The last exported row is unchanged."

FAILING_CHECKS = read_sql(__file__, "failing_checks")

CHECKED_ROW = read_sql(__file__, "checked_row")

CANDIDATE = """
    select active_users, questions_answered, pdf_downloads, engagement_rate, updated_at
    from intermediate.int_platform_stats
"""

LAST_ROW = """
    select active_users, questions_answered, pdf_downloads, engagement_rate, updated_at
    from export.analytics_platform_stats
"""

REPLACE_ROW = read_sql(__file__, "replace_row")

TARGET_TABLE = read_sql(__file__, "create_target_table")

BEGIN_EXPORT = read_sql(__file__, "begin_export")

END_EXPORT = """
    update warehouse.exports set state = 'done', ended_at = clock_timestamp()
    where export_id = %s
"""

ERASED = read_sql(__file__, "erased_since_last_row")


def failing_checks(connection: psycopg.Connection) -> dict[str, str]:
    """Return the checks of severity error whose latest result is a failure, with their models."""
    return dict(connection.execute(FAILING_CHECKS).fetchall())


def export_row(accepted_by: str | None = None, run: str | None = None) -> StatsRow:
    """Write the row that the site shows and return it.

    With ``accepted_by``, a person's name, the row may change beyond its bounds. Raises
    ExportBlockedError where a check of severity error has failed, where the row was not checked
    since it was built, or where it changed beyond its bounds; ExportTargetError where the target
    can't be written. Then the last exported row is unchanged.
    """
    url = _target_url()
    with (
        # One export at a time: each compares its row with the row that the last one wrote.
        locks.held(Lock.EXPORT),
        database.connect(autocommit=True, application_name="warehouse export") as connection,
    ):
        row, origin = _candidate()
        with _target(connection, url) as target:
            _write(connection, target, url, row, origin, accepted_by, run)
    return row


def _candidate() -> tuple[StatsRow, Origin]:
    """Return the row that may be exported, and its origin. Raises ExportBlockedError."""
    with database.connect_as_builder(application_name="warehouse export") as connection:
        # One snapshot for checks and row, so that no build can replace the row in between.
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        try:
            origin = _checked_origin(connection)
            row = _one_row(connection, CANDIDATE)
        except psycopg.errors.UndefinedTable as error:
            raise ExportBlockedError(
                "There is no row to export yet. Run `warehouse build`, then `warehouse check`."
            ) from error
    if row is None:
        raise ExportBlockedError("The model of the row is empty. Run `warehouse build`.")
    return row, origin


def _checked_origin(connection: psycopg.Connection) -> Origin:
    """Return the origin of a row that passed its checks. Raises ExportBlockedError."""
    if failing := failing_checks(connection):
        raise ExportBlockedError(
            f"The export is blocked by failed checks: {', '.join(failing)}. {ROW_UNCHANGED} "
            "Fix what the checks found, then build and check again."
        )
    found = connection.execute(CHECKED_ROW).fetchone()
    if found is None:
        raise ExportBlockedError("The row was never built. Run `warehouse build`.")
    as_of, batch_seq, checked_at, build, state, started_at = found
    # dbt tests a model after writing it. A build that still runs, or was killed, may have written a
    # row that dbt has not tested.
    if state == "running":
        raise ExportBlockedError(
            f"The build that began at {started_at:%Y-%m-%d %H:%M:%S} has not ended. Wait for it "
            f"or, if it was killed, run `warehouse build` again. {ROW_UNCHANGED}"
        )
    if checked_at is None:
        raise ExportBlockedError(
            f"The row as of {as_of:%Y-%m-%d %H:%M:%S} was not checked yet. Run "
            f"`warehouse check`. {ROW_UNCHANGED}"
        )
    return Origin(build, batch_seq, checked_at)


def _one_row(connection: psycopg.Connection, query: str) -> StatsRow | None:
    return connection.cursor(row_factory=class_row(StatsRow)).execute(query).fetchone()


def _target_url() -> str | None:
    """Return the target's URL, None for the warehouse itself. Raises ExportTargetError."""
    url = settings().export_url
    try:
        return url and database.checked_url(url.get_secret_value(), "WAREHOUSE_EXPORT_URL")
    except database.DatabaseError as error:
        raise ExportTargetError(str(error)) from None


def target_name() -> str:
    """Return the target's name in the history of exports. Raises ExportTargetError."""
    return _target_name(_target_url())


def _target_name(url: str | None) -> str:
    return "warehouse" if url is None else database.where(url)


@contextmanager
def _target(connection: psycopg.Connection, url: str | None) -> Iterator[psycopg.Connection]:
    """Give a connection to the target."""
    if url is None:
        yield connection
        return
    with _reporting_target_errors(url):
        target = database.open_session(url, autocommit=True, application_name="warehouse export")
    with closing(target):
        with _reporting_target_errors(url):
            found = target.execute("select to_regclass('export.analytics_platform_stats')")
            if found.fetchone() == (None,):
                target.execute(TARGET_TABLE)
        yield target


@contextmanager
def _reporting_target_errors(url: str | None) -> Iterator[None]:
    """Raise ExportTargetError for errors of another database; pass on those of the warehouse."""
    try:
        yield
    except psycopg.Error as error:
        if url is None:
            raise
        raise ExportTargetError(
            f"The row can't be written to {database.where(url)} (WAREHOUSE_EXPORT_URL): "
            f"{database.reason(error)}. {ROW_UNCHANGED}"
        ) from None


def _write(
    connection: psycopg.Connection,
    target: psycopg.Connection,
    url: str | None,
    row: StatsRow,
    origin: Origin,
    accepted_by: str | None,
    run: str | None,
) -> None:
    name = _target_name(url)
    with _reporting_target_errors(url):
        last = _one_row(target, LAST_ROW)
    unexplained = beyond_bounds(
        row, last, settings().export_largest_factor, _erased_events(connection, name, last, origin)
    )
    refused = bool(unexplained) and accepted_by is None
    history = asdict(row) | asdict(origin) | {
        "target": name,
        "state": "refused" if refused else "running",
        "reason": "; ".join(unexplained) or None,
        "accepted_by": accepted_by if unexplained else None,
        "run": run,
    }  # fmt: skip
    begun = connection.execute(BEGIN_EXPORT, history).fetchone()
    if refused:
        raise ExportBlockedError(
            f"The row changed too much: {'; '.join(unexplained)}. {ROW_UNCHANGED} If the figures "
            "are right, run `warehouse export --accept`."
        )
    with _reporting_target_errors(url), target.transaction():
        target.execute(REPLACE_ROW, asdict(row))
        if target is connection:
            # Row and history are in one database, so one transaction writes both.
            connection.execute(END_EXPORT, begun)
    if target is not connection:
        connection.execute(END_EXPORT, begun)


def _erased_events(
    connection: psycopg.Connection, target: str, last: StatsRow | None, origin: Origin
) -> dict[str, int]:
    """Return by figure how many events erasures have removed since the last row was built."""
    if last is None:
        return {}
    given = asdict(last) | {"target": target, "upto": origin.batch_seq}
    return dict(connection.execute(ERASED, given).fetchall())


def beyond_bounds(
    row: StatsRow,
    last: StatsRow | None,
    largest_factor: float,
    erased: Mapping[str, int] | None = None,
) -> list[str]:
    """Return a sentence for each figure that changed too much; none where there is no last row.

    All-time figures may fall by the events that were ``erased`` since, and by no more. A figure may
    grow to ``largest_factor`` times its last value, or by SMALLEST_JUMP if that is more.
    """
    if last is None:
        return []
    figures = {
        name: (getattr(last, name), getattr(row, name))
        for name in ("active_users", "questions_answered", "pdf_downloads")
    }
    fell = [
        f"{name} fell from {before:,} to {now:,}, by more than erasure explains"
        for name, (before, now) in figures.items()
        if name != "active_users" and before - now > (erased or {}).get(name, 0)
    ]
    jumped = [
        f"{name} rose from {before:,} to {now:,}, "
        + (
            f"by more than {SMALLEST_JUMP:,}"
            if before * largest_factor < before + SMALLEST_JUMP
            else f"to more than {largest_factor:g} times that"
        )
        for name, (before, now) in figures.items()
        if now > max(before * largest_factor, before + SMALLEST_JUMP)
    ]
    return fell + jumped
