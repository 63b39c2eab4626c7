"""Writes the marketing row: one transaction, only when every blocking check has passed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import psycopg
from psycopg.rows import class_row

from ingestion import database, ledger
from ingestion.errors import WarehouseError


class ExportBlockedError(WarehouseError):
    """A check stands in the way; the last good row stays."""


@dataclass(frozen=True, slots=True)
class StatsRow:
    """The marketing row, as ``export.analytics_platform_stats`` holds it."""

    active_users: int
    questions_answered: int
    pdf_downloads: int
    engagement_rate: Decimal | None
    updated_at: datetime


# Of each check only the latest result counts; a check that no longer exists stays with its last.
FAILING_CHECKS = """
    select latest.check_name
    from (
        select distinct on (check_name) check_name, severity, passed
        from warehouse.check_results
        order by check_name, checked_at desc
    ) as latest
    where latest.severity = 'error' and not latest.passed
    order by latest.check_name
"""

# The row must have been checked as it stands now, not as some earlier build left it.
UNCHECKED_ROW = """
    select o.as_of
    from warehouse.model_offsets as o
    where
        o.model = 'int_platform_stats'
        and not exists (
            select from warehouse.check_results as c
            where
                c.source = 'great_expectations'
                and c.model = 'intermediate.int_platform_stats'
                and c.as_of = o.as_of
                and c.batch_seq = o.batch_seq
        )
"""

# dbt's tests run after its models: a build that was killed in between, or still runs, has written a
# row that they have not looked at.
UNENDED_BUILD = """
    select latest.started_at
    from warehouse.model_offsets as o
    cross join lateral (
        select b.started_at, b.state
        from warehouse.builds as b
        where b.started_at <= o.moved_at
        order by b.started_at desc
        limit 1
    ) as latest
    where o.model = 'int_platform_stats' and latest.state = 'running'
"""

REPLACE_ROW = """
    insert into export.analytics_platform_stats as exported
        (id, active_users, questions_answered, pdf_downloads, engagement_rate, updated_at)
    select 1, active_users, questions_answered, pdf_downloads, engagement_rate, updated_at
    from intermediate.int_platform_stats
    on conflict (id) do update set
        active_users = excluded.active_users,
        questions_answered = excluded.questions_answered,
        pdf_downloads = excluded.pdf_downloads,
        engagement_rate = excluded.engagement_rate,
        updated_at = excluded.updated_at
    returning active_users, questions_answered, pdf_downloads, engagement_rate, updated_at
"""


def export_row() -> StatsRow:
    """Write the row that the site shows and return it.

    Raises ExportBlockedError, and leaves the last row as it is, where a check of severity error has
    failed or the row was not checked since it was built.
    """
    with database.connect(autocommit=True, application_name="warehouse export") as connection:
        # One at a time: a second one would be refused for writing a row that its snapshot lacks.
        connection.execute("select pg_advisory_lock(%s)", (ledger.lock_key("export"),))
        # One snapshot for checks and row: a build in between can't slip an unchecked row in.
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        try:
            with connection.transaction():
                return _export(connection)
        except psycopg.errors.UndefinedTable as error:
            raise ExportBlockedError(
                "There is no row to export yet: run `warehouse build`, then `warehouse check`."
            ) from error


def _export(connection: psycopg.Connection) -> StatsRow:
    failing = [name for (name,) in connection.execute(FAILING_CHECKS)]
    if failing:
        raise ExportBlockedError(
            f"The export stands still because of {', '.join(failing)}. The last good row stays. "
            "Mend what they found, build and check again."
        )
    unended = connection.execute(UNENDED_BUILD).fetchone()
    if unended:
        raise ExportBlockedError(
            f"The build that began at {unended[0]:%Y-%m-%d %H:%M:%S} has not ended: wait for it, "
            "or, if it was killed, run `warehouse build` again. The last good row stays."
        )
    unchecked = connection.execute(UNCHECKED_ROW).fetchone()
    if unchecked:
        raise ExportBlockedError(
            f"The row as of {unchecked[0]:%Y-%m-%d %H:%M:%S} was not checked yet: run "
            "`warehouse check`. The last good row stays."
        )
    rows = connection.cursor(row_factory=class_row(StatsRow)).execute(REPLACE_ROW).fetchall()
    if len(rows) != 1:
        raise ExportBlockedError("The model of the row is empty: run `warehouse build`.")
    return rows[0]
