"""The reference of the business marts says what the contract says: examples worked out by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import examples
from tests.properties.operations_streams import AS_OFS, Stream, operations_streams
from tests.reference.business import (
    all_marts,
    builder_usage_daily,
    business_metrics,
    credit_usage_daily,
    dashboard_usage_daily,
    revenue_daily,
    revenue_events,
    unit_economics_monthly,
)

# The reference changes only with the contract.
pytestmark = pytest.mark.deep

AS_OF = datetime(2025, 3, 20, 12, tzinfo=UTC)
TENTH = date(2025, 3, 10)
Event = dict[str, Any]
Row = dict[str, Any]

_numbers = count(1)


def event(
    name: str, at: str, *, client: str = "acme", user: str | None = "ann", **properties: Any
) -> Event:
    return {
        "event_id": f"00000000-0000-0000-0000-{next(_numbers):012x}",
        "event": name,
        "timestamp": at if at.endswith("Z") else f"2025-03-10T{at}Z",
        "actor": {"client_id": client, "user_id": user},
        "properties": properties,
    }


def payment(at: str, kind: str, amount: float, **rest: Any) -> Event:
    return event("revenue", at, type=kind, amount_usd=amount, **rest)


def picked(row: Row, *names: str) -> tuple[Any, ...]:
    return tuple(row[name] for name in names)


def metrics(events: list[Event], as_of: datetime = AS_OF) -> dict[tuple[str, str], Any]:
    client = {"client_id": "acme", "created_at": "2025-03-01T00:00:00Z"}
    return {
        (row["metric_name"], str(row["period_start"])): row["metric_value"]
        for row in business_metrics(events, [client], as_of)
    }


def test_metrics_go_over_the_span_of_the_platform() -> None:
    found = metrics([])
    assert len(found) == 4 * 20
    assert found["daily_revenue", "2025-03-01"] == 0
    assert found["daily_active_users", "2025-03-20"] == 0
    assert found["conversion_rate", "2025-03-20"] is None
    assert found["mrr", "2025-03-20"] == 0
    assert business_metrics([event("signup", "08:00:00", client="_platform")], [], AS_OF) == []
    [row, *_] = business_metrics([event("signup", "08:00:00")], [], AS_OF)
    assert picked(row, "period_start", "period_end", "metric_unit") == (
        TENTH,
        date(2025, 3, 11),
        "USD",
    )


def test_metrics_of_a_day() -> None:
    events = [
        payment("08:00:00", "purchase", 10.1),
        payment("08:00:00", "refund", 20.2, user="bob", client="_platform"),
        event("signup", "23:59:59.999999", user="ann", client="globex"),
        event("signup", "09:00:00", user=None),
        event("subscription_started", "09:00:00", subscription_id="s", plan="p", mrr_cents=1005),
        event(
            "subscription_started",
            "09:00:00",
            client="_platform",
            subscription_id="s",
            plan="p",
            mrr_cents=1,
        ),
    ]
    found = metrics(events)
    assert found["daily_revenue", "2025-03-10"] == Decimal("-10.1")
    assert found["daily_active_users", "2025-03-10"] == 2
    assert found["conversion_rate", "2025-03-10"] == Decimal("50.00")
    assert found["mrr", "2025-03-20"] == Decimal("10.05")
    assert found["mrr", "2025-03-09"] == 0


def test_the_conversion_rate_looks_30_days_back_from_the_days_end() -> None:
    events = [
        payment("2025-02-10T00:00:00Z", "subscription", 1),
        event("signup", "2025-02-09T23:59:59.999999Z", user="bob"),
        payment("2025-03-12T00:00:00Z", "upgrade", 1, user="ann"),
        event("signup", "2025-03-20T12:00:00Z", user="dan"),
    ]
    found = metrics(events)
    # To the 12th's first instant: the purchase of 10 February is just in.
    assert found["conversion_rate", "2025-03-11"] == Decimal("100.00")
    # To the 13th's: an upgrade converts nobody.
    assert found["conversion_rate", "2025-03-12"] == Decimal("0.00")
    assert found["conversion_rate", "2025-03-10"] == Decimal("50.00")


def test_revenue_of_a_day_and_plan() -> None:
    events = [
        payment("08:00:00", "subscription", 0.1, plan_type="pro"),
        payment("09:00:00", "upgrade", 0.2, plan_type="pro"),
        payment("10:00:00", "purchase", 0.7, plan_type="pro", user="bob", client="globex"),
        payment("11:00:00", "purchase", 1, plan_type="pro", user="cat"),
        payment("12:00:00", "refund", 1, plan_type="pro", user="dan"),
        payment("12:00:00", "refund", 5, user="dan"),
        payment("12:00:00", "upgrade", 5, plan_type=""),
    ]
    rows = {row["plan_type"]: row for row in revenue_daily(events, AS_OF)}
    assert set(rows) == {"pro", "none", ""}
    columns = ("subscriptions", "upgrades", "purchases", "refunds", "paying_users")
    assert picked(rows["pro"], *columns) == (1, 1, 2, 1, 3)
    # 1.0 of three.
    assert picked(rows["pro"], "total_revenue_usd", "average_revenue_per_user_usd") == (
        1,
        Decimal("0.333333"),
    )
    assert picked(rows["none"], "total_revenue_usd", "average_revenue_per_user_usd") == (-5, None)
    amounts = [row["amount_usd"] for row in revenue_events(events, AS_OF)]
    assert amounts == [Decimal("0.1"), Decimal("0.2"), Decimal("0.7"), 1, -1, -5, 5]
    assert revenue_events(events, AS_OF)[5]["plan_type"] is None


def test_sums_of_uses() -> None:
    spent = {"feature_name": "search"}
    events = [
        event("credit_used", "08:00:00", **spent, credits_used=0.1, cost_usd=None),
        event("credit_used", "09:00:00", **spent, credits_used=0.2, cost_usd=1e-08, client="b"),
        event("builder_action", "08:00:00", action="save"),
        event("builder_action", "08:00:00", action="save", user=None),
        event("builder_action", "08:00:00", action="save", client="_platform"),
        event("analytics.export", "08:00:00", user=None),
        event("analytics.export", "08:00:00", client="b", view="none"),
        event("analytics.export", "08:00:00", view=""),
    ]
    [used] = credit_usage_daily(events, AS_OF)
    assert picked(used, "user_id", "credits_used", "cost_usd", "uses") == (
        "ann",
        Decimal("0.3"),
        Decimal("0.00000001"),
        2,
    )
    built = builder_usage_daily(events, AS_OF)
    assert [picked(row, "client_id", "actions", "users") for row in built] == [
        ("acme", 2, 1),
        ("_platform", 1, 1),
    ]
    viewed = dashboard_usage_daily(events, AS_OF)
    assert [picked(row, "event", "view", "uses", "users") for row in viewed] == [
        ("analytics.export", "none", 2, 1),
        ("analytics.export", "", 1, 1),
    ]


def test_a_months_margin_is_rounded_once() -> None:
    events = [
        event(
            "subscription_started",
            "2025-02-28T23:59:59Z",
            subscription_id="s",
            plan="p",
            mrr_cents=1000,
        ),
        event("subscription_cancelled", "2025-03-01T00:00:00Z", subscription_id="s"),
        event("api_cost", "2025-02-10T00:00:00Z", cost_cents=100, service="llm"),
        # 0.4 and 0.1 cents: half a cent together.
        event("chat", "2025-02-10T00:00:00Z", cost_prompt=0.004, user=None),
        event("credit_used", "2025-02-10T00:00:00Z", feature_name="f", credits_used=1, cost_usd=1),
        event("credit_used", "2025-02-11T00:00:00Z", feature_name="f", credits_used=1),
        event("chat", "2025-02-10T00:00:00Z", cost_cached=0.001),
        event("chat", "2025-02-10T00:00:00Z", cost_cached=9, client="_platform"),
    ]
    rows = unit_economics_monthly(events, [], AS_OF)
    columns = ("month", "mrr_cents", "api_cost_cents", "ai_cost_usd", "credits_cost_usd")
    assert [picked(row, *columns, "margin_cents") for row in rows] == [
        # 1000 - 100 - 101: a hundred and a half cents become 101.
        ("2025-02", 1000, 100, Decimal("0.005"), 1, 799),
        ("2025-03", 0, 0, 0, 0, 0),
    ]


@examples(5)
@given(operations_streams(), st.sampled_from(AS_OFS))
def test_the_marts_agree_with_each_other(stream: Stream, as_of: datetime) -> None:
    events, clients, _, _ = stream
    marts = all_marts(events, clients, as_of)

    def total(mart: str, name: str) -> Any:
        return sum(row[name] for row in marts[mart])

    assert total("revenue_daily", "total_revenue_usd") == total("revenue_events", "amount_usd")
    counts = ("subscriptions", "upgrades", "purchases", "refunds")
    assert sum(total("revenue_daily", name) for name in counts) == len(marts["revenue_events"])
    credit_events = [
        event
        for event in events
        if event["event"] == "credit_used" and datetime.fromisoformat(event["timestamp"]) < as_of
    ]
    assert total("credit_usage_daily", "uses") == len(credit_events)
    assert len(marts["business_metrics"]) % 4 == 0
