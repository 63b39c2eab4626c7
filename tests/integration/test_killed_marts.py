"""Builds that are killed inside a mart: rows and offset stay in step, and the next mends all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from orchestration.operations.build import one_build_at_a_time
from tests.conftest import DEEP, Server
from tests.support.building import build_at, event, land, made_once, rows_of_models, warm_warehouse
from tests.support.killed_builds import (
    blocked_at,
    kill_in,
    start_builder_of_a_dbt,
    waiting_for_a_lock,
)
from tests.support.processes import until
from warehouse import locks
from warehouse.locks import LockError

AS_OF = datetime(2025, 4, 10, 12, tzinfo=UTC)
DAY = timedelta(days=1)
# And where each is killed: with its rows not yet written, or with its offset not yet moved.
MARTS = {
    "user_monthly_usage": "rows",
    "system_daily_metrics": "offset",
    "analytics_daily": "rows",
    "platform_analytics": "offset",
}


@pytest.fixture(scope="module")
def warm(servers: Callable[[int], Server]) -> Iterator[psycopg.Connection]:
    with warm_warehouse(servers(18), only=[*MARTS]) as connection:
        yield connection


def escalation(at: datetime) -> dict[str, Any]:
    opened = event("escalation_opened", at)
    opened["actor"]["lead_id"] = "l1"
    return opened


@pytest.mark.parametrize(
    ("mart", "point"),
    [DEEP(mart, point) for mart, point in MARTS.items()],
)
def test_a_build_that_is_killed_in_a_mart_and_started_again_ends_like_an_unbroken_one(
    warm: psycopg.Connection, tmp_path: Path, mart: str, point: str
) -> None:
    made_once(warm, "built", lambda: build_first(tmp_path))
    before_rows, before_offset = rows_of_models(warm)[mart], offset(warm, mart)
    land(tmp_path, [event("chat", AS_OF - 40 * DAY), escalation(AS_OF - 40 * DAY)])
    kill_in(warm, mart, point, AS_OF)
    assert (rows_of_models(warm)[mart], offset(warm, mart)) == (before_rows, before_offset)

    build_at(AS_OF)
    increments = rows_of_models(warm)
    assert increments[mart] != before_rows
    build_at(AS_OF, full_refresh=True)
    assert rows_of_models(warm) == increments


@pytest.mark.deep
def test_no_build_begins_while_the_dbt_of_a_killed_one_works(
    warm: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_once(warm, "built", lambda: build_first(tmp_path))
    land(tmp_path, [event("chat", AS_OF - 30 * DAY)])
    before = offset(warm, "user_monthly_usage")
    with blocked_at("int_chat_events", "rows"):
        builder = start_builder_of_a_dbt()
        until(lambda: waiting_for_a_lock(warm), what="dbt waits for the fact")
        (dbt,) = psutil.Process(builder.pid).children()
        builder.kill()
        builder.wait()
        monkeypatch.setattr(locks, "LONGEST_WAIT_SECONDS", 2)
        with (
            pytest.raises(LockError, match=r"warehouse dbt .*, which holds lock_dbt"),
            one_build_at_a_time(),
        ):
            pass
        monkeypatch.undo()
    # It finishes what it was at, and begins nothing more.
    with one_build_at_a_time():
        fact = offset(warm, "int_chat_events")
        psutil.wait_procs([dbt], timeout=60)
        assert not dbt.is_running()
        assert offset(warm, "int_chat_events") == fact
        assert fact[0] > before[0]
        assert offset(warm, "user_monthly_usage") == before


def build_first(directory: Path) -> None:
    land(directory, [event("chat", AS_OF - 40 * DAY), escalation(AS_OF - 40 * DAY)])
    build_at(AS_OF)


def offset(connection: psycopg.Connection, mart: str) -> tuple[int, int]:
    return connection.execute(
        "select batch_seq, row_count from warehouse.model_offsets where model = %s", (mart,)
    ).fetchone()
