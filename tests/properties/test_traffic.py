"""The marts of traffic: one truth, whatever the path.

Random visitors land in batches in any order, with every kind of build in between; in the end every
mart is held, row for row, against a slow reference in plain Python, and against a full refresh.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import psycopg
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from psycopg import sql
from psycopg.rows import dict_row

from ingestion.privacy.visitors import visitor_hash
from tests.conftest import Server
from tests.properties.any_path import AnyPath, few_cases, hold_against
from tests.properties.traffic_streams import AS_OFS, HashOf, ingested, traffic_streams
from tests.reference import traffic
from tests.support.building import build_at, warm_warehouse

MODELS = (
    "int_page_view_events",
    "int_conversion_events",
    "sessions",
    "stats_hourly",
    "stats_daily",
    "traffic_countries_daily",
    "top_pages_daily",
    "traffic_sources_daily",
    "visitor_funnel_monthly",
)

Row = dict[str, Any]


@pytest.fixture(scope="module")
def warm(servers: Callable[[int], Server]) -> Iterator[psycopg.Connection]:
    with warm_warehouse(servers(18), only=["traffic"]) as connection:
        yield connection


# Dozens of builds by a real dbt: minutes, more on a busy machine.
@pytest.mark.timeout(1800)
@few_cases(2)
@given(stream=traffic_streams(), seed=st.integers(0, 2**32))
def test_any_path_ends_like_the_reference_and_like_a_full_refresh(
    warm: psycopg.Connection,
    tmp_path_factory: pytest.TempPathFactory,
    stream: list[Row],
    seed: int,
) -> None:
    path = AnyPath(warm, tmp_path_factory.mktemp("batches"), seed, AS_OFS, MODELS)
    as_of = path.walk(stream)
    stream = path.left(stream)
    expected = traffic.all_marts(ingested(stream, _hash_of(warm)), as_of)
    _hold(warm, stream, expected)
    ids = _session_ids(warm)
    build_at(as_of, full_refresh=True)
    _hold(warm, stream, expected)
    assert _session_ids(warm) == ids


def _hash_of(connection: psycopg.Connection) -> HashOf:
    """The warehouse's own hash: it has a salt for the day of receipt."""
    salts = connection.execute("select salt from staging.visitor_salts").fetchall()
    # Past midnight a visitor may be two.
    assume(len(salts) == 1)

    def hash_of(client_id: str, ip: str, user_agent: str) -> str:
        return visitor_hash(salts[0][0], client_id, ip, user_agent).hex()

    return hash_of


def _hold(
    connection: psycopg.Connection, stream: list[Row], expected: dict[str, list[Row]]
) -> None:
    hold_against(connection, {mart: rows for mart, rows in expected.items() if mart != "sessions"})
    # What names a session that was cut is the warehouse's own affair.
    named = {
        (event["actor"]["client_id"], event.get("context", {}).get("session_id"))
        for event in stream
        if event["event"] == "page_view"
    }
    found = Counter(
        _as_items(
            row if (row["client_id"], row["session_id"]) in named else row | {"session_id": None}
        )
        for row in _sessions(connection)
    )
    wanted = Counter(_as_items(row) for row in expected["sessions"])
    assert (wanted - found, found - wanted) == (Counter(), Counter())


def _as_items(row: Row) -> tuple[tuple[str, Any], ...]:
    return tuple(row.items())


def _sessions(connection: psycopg.Connection) -> list[Row]:
    columns = (
        "client_id", "session_id", "visitor_id", "started_at", "ended_at", "duration_seconds",
        "page_views", "entry_path", "exit_path", "source", "medium", "campaign", "is_bounce",
        "converted",
    )  # fmt: skip
    return (
        connection.cursor(row_factory=dict_row)
        .execute(
            sql.SQL("select {} from marts.sessions").format(
                sql.SQL(", ").join(map(sql.Identifier, columns))
            )
        )
        .fetchall()
    )


def _session_ids(connection: psycopg.Connection) -> set[tuple[str, str, datetime]]:
    return set(connection.execute("select client_id, session_id, started_at from marts.sessions"))
