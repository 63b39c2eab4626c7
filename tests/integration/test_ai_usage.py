"""The AI-usage marts: what a build touches, and real data."""

from __future__ import annotations

import gzip
import json
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ingestion.load.entities import EntityKind
from ingestion.load.loader import load
from ingestion.sources.files import open_source
from ingestion.sources.mapping import find_mapping
from tests.conftest import Server
from tests.integration.test_real_data import DATA
from tests.support.building import (
    build_at,
    land,
    land_entities,
    made_once,
    start_afresh,
    touched,
    warm_warehouse,
)

AS_OF = datetime(2026, 3, 1, tzinfo=UTC)
CELLS = {
    "chat_events": "event_id::text",
    "user_daily_usage": "user_id || ' ' || date",
    "user_monthly_usage": "user_id || ' ' || year_month",
    "document_usage": "document_id || ' ' || date",
    "system_daily_metrics": "date::text",
}


@pytest.fixture(scope="module")
def warm(servers: Callable[[int], Server]) -> Iterator[psycopg.Connection]:
    with warm_warehouse(servers(18), only=["ai_usage"]) as connection:
        yield connection


def chat(at: str, user: str, document: str, message: str) -> dict[str, Any]:
    return {
        "event_id": str(uuid.uuid4()),
        "event": "chat",
        "timestamp": f"{at}:00Z",
        "actor": {"client_id": "acme", "user_id": user},
        "properties": {"message_id": message, "document_id": document, "tokens_prompt": 5},
    }


def feedback(at: str, message: str) -> dict[str, Any]:
    return chat(at, "someone", "", "") | {
        "event": "chat_feedback",
        "properties": {"message_id": message, "rating": 4},
    }


@pytest.fixture
def january(warm: psycopg.Connection, tmp_path: Path) -> dict[str, dict[str, Any]]:
    """Chats of two users on two documents over three days and two months, built."""
    return made_once(warm, "january", lambda: build_january(tmp_path))


def build_january(directory: Path) -> dict[str, dict[str, Any]]:
    chats = {
        "m1": chat("2026-01-10T09:00", "ann", "plan", "m1"),
        "m2": chat("2026-01-11T09:00", "ann", "plan", "m2"),
        "m3": chat("2026-01-11T10:00", "bob", "map", "m3"),
        "m4": chat("2026-02-02T10:00", "bob", "plan", "m4"),
    }
    land(directory, chats.values())
    build_at(AS_OF)
    return chats


def test_a_new_chat_touches_its_own_cells_alone(warm, january, tmp_path):
    new = chat("2026-01-10T12:00", "bob", "map", "m5")
    land(tmp_path, [new])
    # Bob's first day was the 11th until now: he is a new user of the 10th instead.
    assert touched(warm, CELLS, lambda: build_at(AS_OF)) == {
        "chat_events": {new["event_id"]},
        "user_daily_usage": {"bob 2026-01-10"},
        "user_monthly_usage": {"bob 2026-01"},
        "document_usage": {"map 2026-01-10"},
        "system_daily_metrics": {"2026-01-10", "2026-01-11"},
    }
    new_users = warm.execute("select date, new_users from marts.system_daily_metrics order by date")
    assert new_users.fetchall() == [
        (date(2026, 1, 10), 2),
        (date(2026, 1, 11), 0),
        (date(2026, 2, 2), 0),
    ]


def test_feedback_touches_the_day_of_the_chat_and_not_its_own(warm, january, tmp_path):
    land(tmp_path, [feedback("2026-02-20T12:00", "m2")])
    assert touched(warm, CELLS, lambda: build_at(AS_OF)) == {
        "chat_events": {january["m2"]["event_id"]},
        "user_daily_usage": {"ann 2026-01-11"},
        "user_monthly_usage": {"ann 2026-01"},
        "document_usage": {"plan 2026-01-11"},
        "system_daily_metrics": {"2026-01-11"},
    }


def test_feedback_that_came_before_its_chat_counts_when_the_chat_comes(warm, january, tmp_path):
    land(tmp_path, [feedback("2026-01-05T12:00", "m9")])
    assert not any(touched(warm, CELLS, lambda: build_at(AS_OF)).values())
    late = chat("2026-01-04T12:00", "ann", "plan", "m9")
    land(tmp_path, [late])
    build_at(AS_OF)
    rated = warm.execute(
        "select event_id::text, user_feedback_rating from marts.chat_events "
        "where user_feedback_rating is not null"
    ).fetchall()
    assert rated == [(late["event_id"], 4)]


def test_a_changed_limit_touches_the_months_of_its_user_alone(warm, january, tmp_path):
    limited = {
        "user_id": "bob",
        "created_at": "2025-01-01T00:00:00Z",
        "updated_at": "2026-02-01T00:00:00Z",
        "monthly_message_limit": 1,
    }
    land_entities(tmp_path, EntityKind.USERS, [limited])
    cells = touched(warm, CELLS, lambda: build_at(AS_OF))
    assert cells == {mart: set() for mart in CELLS} | {
        "user_monthly_usage": {"bob 2026-01", "bob 2026-02"}
    }
    reached = warm.execute(
        "select year_month, limit_reached_at from marts.user_monthly_usage "
        "where limit_reached order by year_month"
    ).fetchall()
    assert reached == [
        ("2026-01", datetime(2026, 1, 11, 10, tzinfo=UTC)),
        ("2026-02", datetime(2026, 2, 2, 10, tzinfo=UTC)),
    ]


def test_a_month_that_ends_is_complete_with_no_chat_in_it(warm, january, tmp_path):
    land(tmp_path, [chat("2026-03-05T09:00", "ann", "plan", "m5")])
    build_at(datetime(2026, 3, 31, 23, 59, tzinfo=UTC))
    complete = "select year_month from marts.user_monthly_summary where not is_complete"
    assert warm.execute(complete).fetchall() == [("2026-03",)]
    cells = touched(warm, CELLS, lambda: build_at(datetime(2026, 4, 1, tzinfo=UTC)))
    assert cells == {mart: set() for mart in CELLS} | {"user_monthly_usage": {"ann 2026-03"}}
    assert warm.execute(complete).fetchall() == []


def test_events_of_other_kinds_touch_nothing(warm, january, tmp_path):
    signup = chat("2026-01-10T12:00", "ann", "plan", "m1") | {"event": "signup", "properties": {}}
    land(tmp_path, [signup])
    assert not any(touched(warm, CELLS, lambda: build_at(AS_OF)).values())


def test_means_and_shares_are_rounded_once(warm, tmp_path):
    start_afresh(warm)
    # More digits than the server's own division gives, and than Python's numbers have.
    times = ("7.4999999999999999999999", "0", "0")
    lines = [
        json.dumps(chat(f"2026-02-27T09:0{n}", "ann", "plan", "")).replace(
            '"tokens_prompt": 5', f'"response_time_ms": {time}'
        )
        for n, time in enumerate(times)
    ]
    cost = '"cost_prompt": 2.6999999999999999999999, "response_time_ms"'
    lines[0] = lines[0].replace('"response_time_ms"', cost)
    file = tmp_path / "exact.ndjson"
    file.write_text("\n".join(lines))
    assert load(open_source(str(file))).counts.accepted == 3
    allowed = {"user_id": "ann", "monthly_cost_limit": 3}
    times_of_ann = dict.fromkeys(("created_at", "updated_at"), "2026-01-01T00:00:00Z")
    land_entities(tmp_path, EntityKind.USERS, [allowed | times_of_ann])
    build_at(datetime(2026, 2, 28, tzinfo=UTC))
    means = "select avg_response_time_ms from marts.user_daily_usage"
    shares = "select usage_percent, status from marts.user_current_month"
    assert warm.execute(means).fetchall() == [(2,)]
    assert warm.execute(shares).fetchall() == [(Decimal("90.00"), "approaching")]


@pytest.mark.real_data
@pytest.mark.skipif(not DATA.is_dir(), reason=f"the recorded data is not in {DATA}")
def test_real_chats_give_the_figures_of_their_raw_lines(warm):
    start_afresh(warm)
    path = DATA / "aider" / "events.jsonl.gz"
    load(open_source(str(path), find_mapping("aider")))
    for name in ("code", "conv"):
        azure = DATA / "azure_llm" / f"AzureLLMInferenceTrace_{name}.csv.gz"
        load(open_source(str(azure), find_mapping("azure_llm")))
    build_at(datetime(2026, 11, 1, tzinfo=UTC))

    lines = {line for line in gzip.decompress(path.read_bytes()).decode().splitlines() if line}
    days: dict[date, list[Any]] = defaultdict(lambda: [0, 0, Decimal(0), set()])
    for line in lines:
        event = json.loads(line, parse_float=Decimal)
        if event["event"] in ("message_send", "message_send_exception"):
            day = days[datetime.fromtimestamp(event["time"], UTC).date()]
            properties = event["properties"]
            day[0] += 1
            day[1] += (properties.get("prompt_tokens") or 0) + (
                properties.get("completion_tokens") or 0
            )
            day[2] += properties.get("cost") or 0
            day[3] |= {event["user_id"]} - {None}
    expected = [
        (day, messages, tokens, round(cost, 6), len(users))
        for day, (messages, tokens, cost, users) in sorted(days.items())
    ]
    found = warm.execute(
        "select date, total_messages, tokens_total, round(cost_total, 6), active_users "
        "from marts.system_daily_metrics where date <> '2023-11-16' order by date"
    ).fetchall()
    assert found == expected
    azure_day = warm.execute(
        "select total_messages, active_users, new_users, total_conversations, cost_total "
        "from marts.system_daily_metrics where date = '2023-11-16'"
    ).fetchone()
    assert azure_day == (8_819 + 19_366, 0, 0, 0, 0)
    nobody = warm.execute(
        "select message_count, monthly_message_limit, limit_reached from marts.user_monthly_usage "
        "where user_id = 'none' and year_month = '2023-11'"
    ).fetchone()
    assert nobody == (28_185, None, False)
