"""Marts of traffic are compared with the independent reference: whose hash, and which session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg

from ingestion.privacy.visitors import visitor_hash
from tests.support.mart_comparison import (
    assert_marts_match,
    assert_rows_match,
    compared_rows,
)

Row = dict[str, Any]
HashOf = Callable[[str, str, str], str]


def visitor_hash_of(connection: psycopg.Connection) -> HashOf | None:
    """Return the warehouse's own hash; None where midnight has passed: a visitor may then be two.

    It has a salt for the day of receipt.
    """
    salts = connection.execute("select salt from staging.visitor_salts").fetchall()
    if len(salts) != 1:
        return None

    def hash_of(client_id: str, ip: str, user_agent: str) -> str:
        return visitor_hash(salts[0][0], client_id, ip, user_agent).hex()

    return hash_of


def assert_traffic_matches(
    connection: psycopg.Connection, stream: list[Row], expected: dict[str, list[Row]]
) -> None:
    """Compare marts of traffic, by name, with the rows of the reference for a stream."""
    marts = {mart: rows for mart, rows in expected.items() if mart != "sessions"}
    assert_marts_match(connection, marts)
    # The contract does not say which id a session has that was cut from page views.
    named = {
        (event["actor"]["client_id"], event.get("context", {}).get("session_id"))
        for event in stream
        if event["event"] == "page_view"
    }
    sessions = [
        row if (row["client_id"], row["session_id"]) in named else row | {"session_id": None}
        for row in compared_rows(connection, "sessions")
    ]
    assert_rows_match("sessions", sessions, expected["sessions"])
