"""No line that the contract accepts makes a build, a check or the export fail."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from expectations.checks import run_checks
from ingestion.load.entities import EntityKind
from orchestration.operations.export import export_row, failing_checks
from tests.conftest import Server
from tests.properties.any_path import few_cases
from tests.properties.hostile_streams import Event, hostile_events
from tests.reference.intake import LARGEST_NUMBER
from tests.support.building import build_at, land, land_entities, start_afresh, warm_warehouse

pytestmark = pytest.mark.deep

AS_OF = datetime(2026, 2, 1, tzinfo=UTC)
DAY = timedelta(days=1)
# So many of the largest number that their sum is beyond bigint.
TOO_MANY = 9_300


@pytest.fixture(scope="module")
def warm(servers: Callable[[int], Server]) -> Iterator[psycopg.Connection]:
    with warm_warehouse(servers(18)) as connection:
        yield connection


def build_check_and_export(connection: psycopg.Connection, **options: Any) -> None:
    """Do what a scheduled run does; what fails raises, or is found among the checks."""
    build_at(AS_OF, **options)
    run_checks()
    assert failing_checks(connection) == {}
    export_row(accepted_by="a test, which lands all that there is at once")


# Builds of the whole project by a real dbt: minutes, more on a busy machine.
@pytest.mark.timeout(1800)
@few_cases(1)
@given(
    first=st.lists(hostile_events(), min_size=60, max_size=90),
    second=st.lists(hostile_events(), min_size=10, max_size=40),
)
def test_hostile_values_stop_nothing(
    warm: psycopg.Connection,
    tmp_path_factory: pytest.TempPathFactory,
    first: list[Event],
    second: list[Event],
) -> None:
    # Hypothesis begins with the same line again and again: too little for builds that take so long.
    assume(len({event["event"] for event in first}) > 10)
    directory = tmp_path_factory.mktemp("batches")
    start_afresh(warm)
    for kind, row in ENTITIES:
        land_entities(directory, kind, [row])
    counts = land(directory, first)
    # It is what the contract takes that is to be survived.
    assert counts.accepted + counts.duplicates > counts.received / 2
    build_at(AS_OF)
    land(directory, second)
    build_check_and_export(warm)
    build_check_and_export(warm, full_refresh=True)


LONG = "\U0001f600" * 512
ENTITIES = [
    (EntityKind.CLIENTS, {"client_id": "acme", "name": "{", "created_at": "2020-01-01T00:00:00Z",
                          "updated_at": "2026-01-01T00:00:00Z"}),
    (EntityKind.USERS, {"user_id": LONG, "created_at": "2025-12-31T23:59:59.999999Z",
                        "monthly_token_limit": 0, "updated_at": "2026-01-01T00:00:00Z"}),
    (EntityKind.USERS, {"user_id": "a-1", "created_at": "2024-12-31T23:59:59.999999Z",
                        "monthly_token_limit": 10**15, "monthly_message_limit": 1,
                        "updated_at": "2026-01-01T00:00:00Z"}),
    (EntityKind.UNITS, {"unit_id": LONG, "updated_at": "2026-01-01T00:00:00Z"}),
    (EntityKind.DOCUMENTS, {"document_id": LONG, "title": "%", "city": "x" * 9_000,
                            "updated_at": "2026-01-01T00:00:00Z"}),
]  # fmt: skip


def test_sums_beyond_bigint_stop_nothing(warm: psycopg.Connection, tmp_path: Path) -> None:
    start_afresh(warm)
    at = AS_OF - 40 * DAY
    land(tmp_path, largest_amounts(at))
    build_check_and_export(warm)
    # Half of the subscriptions end, the other half shrinks, and all else comes once more.
    land(tmp_path, [*largest_amounts(at + DAY), *ends(at + 2 * DAY)])
    build_check_and_export(warm)
    top = warm.execute(
        "select max(revenue_attributed_cents), max(margin_cents), min(margin_cents) "
        "from marts.unit_economics_monthly"
    ).fetchone()
    assert top is not None
    assert top[0] == 2**63 - 1
    assert warm.execute("select max(mrr_cents) from marts.platform_analytics").fetchone() == (
        2**63 - 1,
    )


def largest_amounts(at: datetime) -> Iterable[Event]:
    """As many events as it takes, each of the largest amount."""
    money = {"value_cents": LARGEST_NUMBER}
    for number in range(TOO_MANY):
        for name, properties in (
            ("job_won", money),
            ("invoice_sent", money),
            ("payment_received", money),
            ("api_cost", {"cost_cents": LARGEST_NUMBER, "service": "s"}),
            (
                "subscription_started",
                {
                    "subscription_id": f"s-{number}",
                    "plan": f"p-{number % 30}",
                    "mrr_cents": LARGEST_NUMBER,
                },
            ),
            (
                "chat",
                {
                    "message_id": f"m-{number}",
                    "model_name": f"m-{number}",
                    "tokens_prompt": LARGEST_NUMBER,
                    "tokens_completion": LARGEST_NUMBER,
                    "cost_prompt": LARGEST_NUMBER,
                    "response_time_ms": LARGEST_NUMBER,
                },
            ),
            (
                "credit_used",
                {"feature_name": "f", "credits_used": LARGEST_NUMBER, "cost_usd": 1e15},
            ),
            ("revenue", {"type": "refund", "amount_usd": LARGEST_NUMBER}),
            ("system_metric", {"metric_type": "m", "metric_value": -1e15, "server_id": "s"}),
        ):
            yield happening(name, at, number, properties)


def ends(at: datetime) -> Iterable[Event]:
    for number in range(TOO_MANY):
        subscription = {"subscription_id": f"s-{number}"}
        if number % 2:
            yield happening("subscription_cancelled", at, number, subscription)
        else:
            smaller = subscription | {"plan": "q", "mrr_cents": number}
            yield happening("subscription_changed", at, number, smaller)


def happening(name: str, at: datetime, number: int, properties: dict[str, Any]) -> Event:
    """One of many events of two clients, each a millisecond after the one before."""
    return {
        "event": name,
        "timestamp": (at + timedelta(milliseconds=number)).isoformat(),
        "actor": {"client_id": f"c-{number % 2}", "lead_id": "l", "user_id": "u"},
        "properties": properties,
    }
