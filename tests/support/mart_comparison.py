"""Marts are compared with the independent reference: which ones, in which columns, and how."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

Row = dict[str, Any]

# Marts that no reference computes row for row, and why.
NOT_COMPARED = {
    "mart_status": "the state of the warehouse itself: tests/integration/test_clients.py",
    "restatements": "what builds have changed: tests/integration/test_clients.py",
    "warehouse_events": "builds, runs and exports: tests/integration/test_operations.py",
    "unknown_members": "counts by day of receipt: tests/properties/test_intake.py",
    "ingest_reconciliation_daily": "counts days of receipt: tests/properties/test_business.py",
}
# Columns that say how a row came about. Equal rows may differ in them.
OF_THE_MECHANISM = {"updated_at", "built_batch_seq", "built_as_of"}
# Other columns that the reference leaves open, by mart.
LEFT_OPEN = {
    # The contract fixes which alerts there are, and neither their ids nor their wording.
    "alert_history": {"alert_id", "title", "message"},
}

# How many of the rows that differ are shown.
SHOWN = 3


def compared_columns(mart: str, columns: Iterable[str]) -> set[str]:
    """Return those of a mart's columns that the reference must have too."""
    return set(columns) - OF_THE_MECHANISM - LEFT_OPEN.get(mart, set())


def assert_marts_match(connection: psycopg.Connection, expected: Mapping[str, list[Row]]) -> None:
    """Compare marts, by name, with the rows of the reference: the columns and every row."""
    for mart, rows in expected.items():
        assert_rows_match(mart, compared_rows(connection, mart), rows)


def compared_rows(connection: psycopg.Connection, mart: str) -> list[Row]:
    """Return a mart's rows in all columns that are compared."""
    cursor = connection.cursor(row_factory=dict_row)
    found = cursor.execute(sql.SQL("select * from {}").format(sql.Identifier("marts", mart)))
    names = compared_columns(mart, (column.name for column in cursor.description))
    return [{name: row[name] for name in names} for row in found]


def assert_rows_match(mart: str, found: list[Row], wanted: list[Row]) -> None:
    """Compare rows of a mart, in any order, with those of the reference."""
    if found and wanted:
        assert set(found[0]) == set(wanted[0]), f"columns of {mart}"
    found, wanted = _comparable(found), _comparable(wanted)
    if found == wanted:
        return
    missing = [row for row in wanted if row not in found]
    too_many = [row for row in found if row not in wanted]
    raise AssertionError(
        f"{mart}: {len(found)} rows for {len(wanted)} of the reference\n"
        f"missing: {missing[:SHOWN]}\ntoo many: {too_many[:SHOWN]}"
    )


def _comparable(rows: Iterable[Row]) -> list[Row]:
    return sorted(map(_plain, rows), key=repr)


def _plain(value: object) -> object:
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, Decimal | int) and not isinstance(value, bool):
        return Decimal(value).normalize() + 0
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(value[name]) for name in sorted(value)}
    return value
