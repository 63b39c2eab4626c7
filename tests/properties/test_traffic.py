"""The marts of traffic: one truth, whatever the path.

Random visitors land in batches in any order, with every kind of build in between; in the end every
mart is held, row for row, against a slow reference in plain Python, and against a full refresh.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import psycopg
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.conftest import Server
from tests.properties.any_path import AnyPath, few_cases
from tests.properties.traffic_streams import AS_OFS, ingested, traffic_streams
from tests.reference import traffic
from tests.support.building import build_at, warm_warehouse
from tests.support.traffic_comparison import assert_traffic_matches, visitor_hash_of

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
@pytest.mark.walk
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
    hash_of = visitor_hash_of(warm)
    assume(hash_of)
    expected = traffic.all_marts(ingested(stream, hash_of), as_of)
    assert_traffic_matches(warm, stream, expected)
    ids = _session_ids(warm)
    build_at(as_of, full_refresh=True)
    assert_traffic_matches(warm, stream, expected)
    assert _session_ids(warm) == ids


def _session_ids(connection: psycopg.Connection) -> set[tuple[str, str, datetime]]:
    return set(connection.execute("select client_id, session_id, started_at from marts.sessions"))
