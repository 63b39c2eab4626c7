"""What is said of a dbt test that fails: which rows, and the command that may repair them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from orchestration.operations.lineage import manifest
from warehouse.sql_files import read_sql

MOST_SHOWN = 5
# Columns that name no person and no client: what shows them keeps them for longer than an erasure.
SHOWN = (
    "producer",
    "date",
    "week_start",
    "month",
    "year",
    "cohort_month",
    "period_start",
    "hour",
    "stage",
    "plan_type",
    "loss_percent",
)
FAILING_TESTS = read_sql(__file__, "failing_tests")


@dataclass(frozen=True, slots=True)
class FailingRows:
    """The keys of up to five rows that fail a test, and the command that recomputes all of them."""

    keys: list[str]
    repair: str


def failing_rows(connection: psycopg.Connection, test: str, query: str) -> FailingRows:
    """Return what is said of the rows that fail a test; ``query`` selects them."""
    rows = sql.SQL("({}\n) as failing").format(sql.SQL(query))  # type: ignore[arg-type]
    with connection.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(
            sql.SQL("select * from {} limit {}").format(rows, MOST_SHOWN)
        ).fetchall()
    keys = [
        ", ".join(f"{name} {row[name]}" for name in SHOWN if row.get(name) is not None)
        for row in found
    ]
    models = _models_of(test)
    # Columns first, models that have windows only.
    windows = [window for model in models if (window := _window(connection, model, rows))]
    options = ["--select", " ".join(models)]
    if windows:
        first, last = min(first for first, _ in windows), max(last for _, last in windows)
        options += ["--start", f"{first}", "--end", f"{last + timedelta(days=1)}"]
    else:
        options.append("--full-refresh")
    return FailingRows(
        sorted({key for key in keys if key}), shlex.join(["warehouse", "build", *options])
    )


def warnings(connection: psycopg.Connection) -> list[str]:
    """Return each test of severity warn that failed when it last ran, with the failing rows."""
    return [
        f"{test}: {_among(failing_rows(connection, test, query).keys, failures)}"
        for test, query, failures in connection.execute(
            FAILING_TESTS, {"severity": "warn"}
        ).fetchall()
    ]


def _among(keys: Sequence[str], failures: int) -> str:
    """Return the keys of failing rows, and how many more rows there are."""
    more = failures - len(keys)
    if not keys:
        return f"{failures:,} rows"
    return "; ".join(keys) + (f" and {more:,} more" if more > 0 else "")


def _test(name: str) -> dict:
    return next(
        node
        for node in manifest()["nodes"].values()
        if node["resource_type"] == "test" and node["name"] == name
    )


def _models_of(test: str) -> list[str]:
    return [id.rpartition(".")[2] for id in _test(test)["depends_on"]["nodes"] if id[:5] == "model"]


def _window(
    connection: psycopg.Connection, model: str, rows: sql.Composable
) -> tuple[date, date] | None:
    """Return the first and last day that failing rows belong to, if they have the mart's days."""
    node = next(
        node
        for node in manifest()["nodes"].values()
        if node["resource_type"] == "model" and node["name"] == model
    )
    if not (day := node["meta"].get("window_on")):
        return None
    query = sql.SQL("select min({day}), max({day}) from {rows}").format(day=sql.SQL(day), rows=rows)
    try:
        with connection.transaction():
            first, last = connection.execute(query).fetchone() or (None, None)
    except psycopg.errors.UndefinedColumn:
        return None
    return (first, last) if first else None
