"""Writes the marketing row: one transaction, only when every blocking check has passed.

The row goes to the warehouse's own schema `export`, or to another PostgreSQL. Either way the
warehouse keeps a history of what was exported, and of what was refused for its change against the
last row.
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


class ExportBlockedError(WarehouseError):
    """A check stands in the way; the last good row stays."""

    exit_code = ExitCode.CHECK_FAILED


class ExportTargetError(WarehouseError):
    """The database that the row goes to can't take it; the last good row stays."""


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
    """What a row came from: a build, the batch that it read up to, and the checks of it."""

    build: str
    batch_seq: int
    checked_at: datetime


# Growth by a factor tells nothing of small numbers: ten times one question is no jump.
SMALLEST_JUMP = 1000

# Of each check only the latest result counts; a check that no longer exists stays with its last.
FAILING_CHECKS = """
    select latest.check_name, latest.model
    from (
        select distinct on (check_name) check_name, model, severity, passed
        from warehouse.check_results
        order by check_name, checked_at desc
    ) as latest
    where latest.severity = 'error' and not latest.passed
    order by latest.check_name
"""

# The row must have been checked as it stands now, not as some earlier build left it.
CHECKED_ROW = """
    select
        o.as_of,
        o.batch_seq,
        (
            select max(c.checked_at)
            from warehouse.check_results as c
            where
                c.source = 'great_expectations'
                and c.model = 'intermediate.int_platform_stats'
                and c.as_of = o.as_of
                and c.batch_seq = o.batch_seq
        ) as checked_at,
        latest.invocation_id,
        latest.state,
        latest.started_at
    from warehouse.model_offsets as o
    left join lateral (
        select b.invocation_id, b.state, b.started_at
        from warehouse.builds as b
        where
            b.started_at <= o.moved_at
            and (b.models is null or 'int_platform_stats' = any(b.models))
        order by b.started_at desc
        limit 1
    ) as latest on true
    where o.model = 'int_platform_stats'
"""

CANDIDATE = """
    select active_users, questions_answered, pdf_downloads, engagement_rate, updated_at
    from intermediate.int_platform_stats
"""

LAST_ROW = """
    select active_users, questions_answered, pdf_downloads, engagement_rate, updated_at
    from export.analytics_platform_stats
"""

REPLACE_ROW = """
    insert into export.analytics_platform_stats
        (id, active_users, questions_answered, pdf_downloads, engagement_rate, updated_at)
    values (
        1, %(active_users)s, %(questions_answered)s, %(pdf_downloads)s, %(engagement_rate)s,
        %(updated_at)s
    )
    on conflict (id) do update set
        active_users = excluded.active_users,
        questions_answered = excluded.questions_answered,
        pdf_downloads = excluded.pdf_downloads,
        engagement_rate = excluded.engagement_rate,
        updated_at = excluded.updated_at
"""

# What a migration makes in the warehouse itself.
TARGET_TABLE = """
    create schema if not exists export;
    create table if not exists export.analytics_platform_stats (
        id integer primary key check (id = 1),
        active_users bigint not null,
        questions_answered bigint not null,
        pdf_downloads bigint not null,
        engagement_rate numeric(12, 4),
        updated_at timestamptz not null
    );
"""

BEGIN_EXPORT = """
    insert into warehouse.exports (
        target, state, reason, accepted_by, run, build, batch_seq, checked_at,
        active_users, questions_answered, pdf_downloads, engagement_rate, updated_at, ended_at
    )
    values (
        %(target)s, %(state)s, %(reason)s, %(accepted_by)s, %(run)s, %(build)s, %(batch_seq)s,
        %(checked_at)s, %(active_users)s, %(questions_answered)s, %(pdf_downloads)s,
        %(engagement_rate)s, %(updated_at)s,
        case when %(state)s <> 'running' then clock_timestamp() end
    )
    returning export_id
"""

END_EXPORT = """
    update warehouse.exports set state = 'done', ended_at = clock_timestamp()
    where export_id = %s
"""

# What explains that a figure of all time falls: the events of its kind that erasures took out after
# the batch that the last row was built up to, as far as the new one has read. By its figures the
# last row is found in the history, also where an exporter was killed before it had noted the end;
# nothing is explained of a row that is not there.
ERASED = """
    select figure.name, coalesce(sum((e.removed ->> figure.fact)::bigint), 0)::bigint
    from (
        values
            ('questions_answered', 'intermediate.int_chat_events'),
            ('pdf_downloads', 'intermediate.int_pdf_download_events')
    ) as figure (name, fact)
    inner join warehouse.erasures as e
        on e.batch_seq <= %(upto)s
        and e.batch_seq > (
            select x.batch_seq from warehouse.exports as x
            where
                x.target = %(target)s
                and x.state <> 'refused'
                and x.active_users = %(active_users)s
                and x.questions_answered = %(questions_answered)s
                and x.pdf_downloads = %(pdf_downloads)s
                and x.updated_at = %(updated_at)s
            order by x.export_id desc
            limit 1
        )
    group by figure.name
"""


def failing_checks(connection: psycopg.Connection) -> dict[str, str]:
    """Return the checks of severity error whose latest result is a failure, with their models."""
    return dict(connection.execute(FAILING_CHECKS).fetchall())


def export_row(accepted_by: str | None = None, run: str | None = None) -> StatsRow:
    """Write the row that the site shows and return it.

    With ``accepted_by``, somebody's name, a change beyond the bounds passes. Raises
    ExportBlockedError, and leaves the last row as it is, where a check of severity error has
    failed, the row was not checked since it was built, or it changed beyond the bounds;
    ExportTargetError where the target can't be written.
    """
    url = _target_url()
    with (
        # One at a time: each is held against the row that the one before has left.
        locks.held(Lock.EXPORT),
        database.connect(autocommit=True, application_name="warehouse export") as connection,
    ):
        row, origin = _candidate()
        with _target(connection, url) as target:
            _write(connection, target, url, row, origin, accepted_by, run)
    return row


def _candidate() -> tuple[StatsRow, Origin]:
    """Return the row that may be written, and what it came from. Raises ExportBlockedError."""
    with database.connect_as_builder(application_name="warehouse export") as connection:
        # One snapshot for checks and row: a build in between can't slip an unchecked row in.
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        try:
            origin = _checked(connection)
            row = _one_row(connection, CANDIDATE)
        except psycopg.errors.UndefinedTable as error:
            raise ExportBlockedError(
                "There is no row to export yet: run `warehouse build`, then `warehouse check`."
            ) from error
    if row is None:
        raise ExportBlockedError("The model of the row is empty: run `warehouse build`.")
    return row, origin


def _checked(connection: psycopg.Connection) -> Origin:
    if failing := failing_checks(connection):
        raise ExportBlockedError(
            f"The export stands still because of {', '.join(failing)}. The last good row stays. "
            "Mend what they found, build and check again."
        )
    found = connection.execute(CHECKED_ROW).fetchone()
    if found is None:
        raise ExportBlockedError("The row was never built: run `warehouse build`.")
    as_of, batch_seq, checked_at, build, state, started_at = found
    # dbt's tests run after its models: a build that was killed in between, or still runs, has
    # written a row that they have not looked at.
    if state == "running":
        raise ExportBlockedError(
            f"The build that began at {started_at:%Y-%m-%d %H:%M:%S} has not ended: wait for it, "
            "or, if it was killed, run `warehouse build` again. The last good row stays."
        )
    if checked_at is None:
        raise ExportBlockedError(
            f"The row as of {as_of:%Y-%m-%d %H:%M:%S} was not checked yet: run "
            "`warehouse check`. The last good row stays."
        )
    return Origin(build, batch_seq, checked_at)


def _one_row(connection: psycopg.Connection, query: str) -> StatsRow | None:
    return connection.cursor(row_factory=class_row(StatsRow)).execute(query).fetchone()


def _target_url() -> str | None:
    """Return where the row goes, None for the warehouse. Raises ExportTargetError for no URL."""
    url = settings().export_url
    try:
        return url and database.checked_url(url.get_secret_value(), "WAREHOUSE_EXPORT_URL")
    except database.DatabaseError as error:
        raise ExportTargetError(str(error)) from None


def target_name() -> str:
    """Return the name by which the history knows where the row goes. Raises ExportTargetError."""
    return _name(_target_url())


def _name(url: str | None) -> str:
    return "warehouse" if url is None else database.where(url)


@contextmanager
def _target(connection: psycopg.Connection, url: str | None) -> Iterator[psycopg.Connection]:
    """Give a connection to where the row goes."""
    if url is None:
        yield connection
        return
    with _telling(url):
        target = database.open_session(url, autocommit=True, application_name="warehouse export")
    with closing(target):
        with _telling(url):
            found = target.execute("select to_regclass('export.analytics_platform_stats')")
            if found.fetchone() == (None,):
                target.execute(TARGET_TABLE)
        yield target


@contextmanager
def _telling(url: str | None) -> Iterator[None]:
    """Tell of what fails at another target; what fails in the warehouse is told as it is."""
    try:
        yield
    except psycopg.Error as error:
        if url is None:
            raise
        raise ExportTargetError(
            f"The row can't be written to {database.where(url)} (WAREHOUSE_EXPORT_URL): "
            f"{database.reason(error)}. The last good row stays."
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
    name = _name(url)
    with _telling(url):
        last = _one_row(target, LAST_ROW)
    unexplained = beyond_bounds(
        row, last, settings().export_largest_factor, _erased(connection, name, last, origin)
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
            f"The row changed more than it should: {'; '.join(unexplained)}. The last good row "
            "stays. If the figures are right, run `warehouse export --accept`."
        )
    with _telling(url), target.transaction():
        target.execute(REPLACE_ROW, asdict(row))
        if target is connection:
            # Row and history in one transaction, where they are in one database.
            connection.execute(END_EXPORT, begun)
    if target is not connection:
        connection.execute(END_EXPORT, begun)


def _erased(
    connection: psycopg.Connection, target: str, last: StatsRow | None, origin: Origin
) -> dict[str, int]:
    """Return, by figure, the events that erasures have taken out since the last row was built."""
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
    """Return a sentence on each figure that changed more than it should, none without a last row.

    Figures of all time fall by no more than the events that were ``erased`` of each since; no
    figure grows by more than the factor, small ones excepted.
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
            else f"to more than {largest_factor:g} times of that"
        )
        for name, (before, now) in figures.items()
        if now > max(before * largest_factor, before + SMALLEST_JUMP)
    ]
    return fell + jumped
