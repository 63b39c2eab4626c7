"""The reference of the platform's marts says what the contract says: examples by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import examples
from tests.properties.client_streams import AS_OFS, Stream, client_streams
from tests.reference.platform import all_marts, plan_adoption_daily, platform_analytics
from tests.reference.test_clients import client, column, event, inbound, outbound, picked

# The reference changes only with the contract.
pytestmark = pytest.mark.deep

AS_OF = datetime(2025, 3, 8, 12, tzinfo=UTC)
MOVEMENTS = (
    "mrr_cents",
    "new_mrr_cents",
    "reactivation_mrr_cents",
    "expansion_mrr_cents",
    "contraction_mrr_cents",
    "churned_mrr_cents",
)

Event = dict[str, Any]
Row = dict[str, Any]


def subscribed(
    at: str, mrr: int | None, sub: str = "s-1", kind: str = "started", **rest: Any
) -> Event:
    """Without `mrr` the subscription is cancelled."""
    if mrr is None:
        return event("subscription_cancelled", at, lead=None, subscription_id=sub, **rest)
    properties = {"subscription_id": sub, "mrr_cents": mrr, "plan": "pro"} | rest
    return event(f"subscription_{kind}", at, lead=None, **properties)


def movements(events: list[Event]) -> dict[int, tuple[Any, ...]]:
    """The days on which MRR moved, by their number in March."""
    rows = platform_analytics(events, [client()], AS_OF)
    found = {row["date"].day: picked(row, *MOVEMENTS) for row in rows}
    return {day: row for day, row in found.items() if any(row[1:])}


def by_day(rows: list[Row]) -> dict[int, Row]:
    return {row["date"].day: row for row in rows}


def test_without_a_client_there_are_no_days() -> None:
    events = [
        event("lead_created", "2025-03-01T00:00:00Z", client="_platform"),
        subscribed("2025-03-01T00:00:00Z", 5, client="_platform"),
    ]
    entities = [client("_platform"), client(created_at="2025-03-08T12:00:00Z")]
    assert all_marts(events, entities, AS_OF) == {
        "platform_analytics": [],
        "plan_adoption_daily": [],
    }


def test_clients_are_counted_by_creation_and_churn() -> None:
    entities = [
        client(created_at="2025-03-02T00:00:00Z", churned_at="2025-03-04T23:59:59.999999Z"),
        client("b", "2025-03-03T23:59:59.999999Z", churned_at="2025-03-08T12:00:00Z"),
        # The day that the entity gives, though it is before its creation.
        client("c", "2025-03-05T00:00:00Z", churned_at="2025-03-04T00:00:00Z"),
    ]
    events = [
        # Before the entity's creation: makes the span longer, but no client of that day.
        event("signup", "2025-03-01T00:00:00Z", lead=None),
        event("signup", "2025-03-06T00:00:00Z", lead=None, client="inferred"),
    ]
    rows = platform_analytics(events, entities, AS_OF)
    assert column(rows, "date") == [date(2025, 3, day) for day in range(1, 9)]
    assert column(rows, "total_clients") == [0, 1, 2, 2, 3, 4, 4, 4]
    assert column(rows, "active_clients") == [0, 1, 2, 1, 1, 2, 2, 2]
    assert column(rows, "new_clients") == [0, 1, 1, 0, 1, 1, 0, 0]
    assert column(rows, "churned_clients") == [0, 0, 0, 2, 0, 0, 0, 0]


def test_mrr_moves_by_clients_at_the_ends_of_days() -> None:
    events = [
        subscribed("2025-03-01T00:00:00Z", 100),
        subscribed("2025-03-02T23:59:59.999999Z", 50, "s-2"),
        # One for another of the same value moves nothing.
        subscribed("2025-03-03T01:00:00Z", None, "s-2"),
        subscribed("2025-03-03T02:00:00Z", 50, "s-3"),
        subscribed("2025-03-04T00:00:00Z", 30, kind="changed"),
        subscribed("2025-03-05T00:00:00Z", None),
        subscribed("2025-03-05T00:00:00Z", None, "s-3"),
        # A change makes a cancelled one live.
        subscribed("2025-03-07T00:00:00Z", 20, kind="changed"),
        # Another client's subscription of the same name.
        subscribed("2025-03-04T00:00:00Z", 1000, client="globex"),
        subscribed("2025-03-01T00:00:00Z", 9, client="_platform"),
    ]
    # mrr, new, reactivation, expansion, contraction, churned
    assert movements(events) == {
        1: (100, 100, 0, 0, 0, 0),
        2: (150, 0, 0, 50, 0, 0),
        4: (1080, 1000, 0, 0, 70, 0),
        5: (1000, 0, 0, 0, 0, 80),
        7: (1020, 0, 20, 0, 0, 0),
    }


def test_what_was_gone_by_the_days_end_was_never_there() -> None:
    events = [
        subscribed("2025-03-01T00:00:00Z", 100),
        subscribed("2025-03-01T12:00:00Z", None),
        subscribed("2025-03-02T00:00:00Z", 0),
    ]
    assert movements(events) == {}


def test_at_one_instant_it_is_started_then_changed_then_cancelled_whatever_the_ids() -> None:
    events = [
        subscribed("2025-03-03T00:00:00Z", 7, number=5),
        subscribed("2025-03-03T00:00:00Z", 8, kind="changed", number=2),
        # Of one kind, the greater id is the later.
        subscribed("2025-03-03T00:00:00Z", 9, kind="changed", number=1),
        subscribed("2025-03-04T00:00:00Z", None, number=3),
        subscribed("2025-03-04T00:00:00Z", 8, kind="changed", number=4),
    ]
    assert movements(events) == {3: (8, 8, 0, 0, 0, 0), 4: (0, 0, 0, 0, 0, 8)}


def test_a_churned_clients_subscription_lasts_until_it_is_cancelled() -> None:
    entities = [client(churned_at="2025-03-02T00:00:00Z")]
    rows = platform_analytics([subscribed("2025-03-01T00:00:00Z", 5)], entities, AS_OF)
    assert picked(rows[-1], "mrr_cents", "active_clients") == (5, 0)


def test_the_days_totals_include_the_platform() -> None:
    events = [
        event("lead_created", "2025-03-01T00:00:00Z"),
        event("lead_created", "2025-03-02T00:00:00Z"),
        event("lead_created", "2025-03-02T00:00:00Z", client="_platform"),
        event("lead_created", "2025-03-01T12:00:00Z", client="globex"),
        inbound("2025-03-02T00:00:00Z", client="_platform", sender_type="ai"),
        outbound("2025-03-02T00:00:00Z"),
        outbound("2025-03-02T00:00:00Z", sender_type="human"),
        event("escalation_opened", "2025-03-02T00:00:00Z", client="_platform"),
        event("api_cost", "2025-03-02T00:00:00Z", client="_platform", cost_cents=1, service="s"),
        event("api_cost", "2025-03-02T00:00:00Z", cost_cents=4, service="s"),
        event("review_received", "2025-03-02T00:00:00Z", client="_platform", rating=5),
        event("review_received", "2025-03-02T00:00:00Z", rating=4),
        event("review_received", "2025-03-02T00:00:00Z", rating=4),
        event("chat_feedback", "2025-03-02T00:00:00Z", rating=1, message_id="m"),
    ]
    days = by_day(platform_analytics(events, [], AS_OF))
    names = ("total_leads", "total_messages", "total_ai_responses", "total_escalations")
    assert picked(days[1], *names) == (2, 0, 0, 0)
    assert picked(days[2], *names) == (1, 3, 1, 1)
    # 5 cents over two clients, 2.5.
    assert picked(
        days[2],
        "total_api_costs_cents",
        "avg_cost_per_client_cents",
        "avg_client_satisfaction",
    ) == (5, 3, Decimal("4.33"))
    assert picked(days[3], "avg_cost_per_client_cents", "avg_client_satisfaction") == (0, None)


def test_a_cost_without_active_clients_has_no_mean() -> None:
    entities = [client(churned_at="2025-03-02T00:00:00Z")]
    events = [event("api_cost", "2025-03-02T00:00:00Z", cost_cents=4, service="s")]
    second = by_day(platform_analytics(events, entities, AS_OF))[2]
    assert second["avg_cost_per_client_cents"] is None


def test_a_plan_has_a_row_while_a_subscription_lives() -> None:
    events = [
        subscribed("2025-03-05T00:00:00Z", 100, plan="basic"),
        subscribed("2025-03-05T00:00:00Z", 0, plan="basic", client="globex"),
        subscribed("2025-03-06T23:59:59.999999Z", 150, kind="changed", plan="pro"),
        subscribed("2025-03-08T00:00:00Z", None, client="globex"),
        subscribed("2025-03-08T00:00:00Z", 9, client="_platform"),
    ]
    rows = {
        picked(row, "date", "plan"): picked(row, "active_subscriptions", "mrr_cents")
        for row in plan_adoption_daily(events, AS_OF)
    }
    assert rows == {
        (date(2025, 3, 5), "basic"): (2, 100),
        (date(2025, 3, 6), "basic"): (1, 0),
        (date(2025, 3, 6), "pro"): (1, 150),
        (date(2025, 3, 7), "basic"): (1, 0),
        (date(2025, 3, 7), "pro"): (1, 150),
        (date(2025, 3, 8), "pro"): (1, 150),
    }


def test_plans_beyond_a_clients_twenty_largest_are_one() -> None:
    fifth = "2025-03-05T00:00:00Z"
    events = [
        # By MRR 1 to 19, then two subscriptions before one, then `B` before `b` and `é`.
        *(subscribed(fifth, 100 + n, f"s-{n}", plan=f"p{n}") for n in range(19)),
        subscribed(fifth, 1, "t-1", plan="é"),
        subscribed(fifth, 1, "t-2", plan="b"),
        subscribed(fifth, 1, "t-3", plan="B"),
        subscribed(fifth, 1, "t-4", plan="zz"),
        subscribed(fifth, 0, "t-5", plan="zz"),
        # Another client's plans have a ranking of their own.
        subscribed(fifth, 1, plan="b", client="globex"),
        subscribed(fifth, 5, "t-6", plan="other", client="globex"),
        # From the next day on there is room for two more.
        subscribed("2025-03-06T00:00:00Z", None, "s-0"),
        subscribed("2025-03-06T00:00:00Z", None, "t-4"),
        subscribed("2025-03-06T00:00:00Z", None, "t-5"),
    ]
    rows = plan_adoption_daily(events, AS_OF)
    days = {
        day: {
            row["plan"]: picked(row, "active_subscriptions", "mrr_cents")
            for row in rows
            if row["date"].day == day and not row["plan"].startswith("p")
        }
        for day in (5, 6)
    }
    assert days == {
        5: {"zz": (2, 1), "b": (1, 1), "other": (4, 8)},
        6: {"B": (1, 1), "b": (2, 2), "other": (2, 6)},
    }
    assert sum(row["date"].day == 5 for row in rows) == 19 + 3


@examples(10)
@given(client_streams(), st.sampled_from(AS_OFS))
def test_mrr_is_yesterdays_and_its_movements(stream: Stream, as_of: datetime) -> None:
    events, clients, _ = stream
    marts = all_marts(events, clients, as_of)
    plans: dict[date, int] = {}
    for row in marts["plan_adoption_daily"]:
        plans[row["date"]] = plans.get(row["date"], 0) + row["mrr_cents"]
    yesterday = 0
    for row in marts["platform_analytics"]:
        mrr, new, reactivation, expansion, contraction, churned = picked(row, *MOVEMENTS)
        assert mrr == yesterday + new + reactivation + expansion - contraction - churned
        assert min(new, reactivation, expansion, contraction, churned) >= 0
        assert mrr == plans.get(row["date"], 0)
        assert row["active_clients"] <= row["total_clients"]
        yesterday = mrr
