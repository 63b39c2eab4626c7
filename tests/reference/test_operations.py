"""The reference of operations says what the contract says: examples worked out by hand."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import examples
from tests.properties.operations_streams import AS_OFS, Stream, operations_streams, used_by
from tests.properties.strategies import RECEIVED_AT
from tests.reference.intake import validate
from tests.reference.operations import (
    alert_history,
    all_marts,
    api_errors,
    api_performance_daily,
    api_performance_hourly,
    calculate_conversion_rate,
    calculate_user_engagement,
    dashboard_summary,
    get_conversion_funnel,
    get_daily_active_users,
    ingest_loss_daily,
    system_metrics_hourly,
)

# The reference changes only with the contract.
pytestmark = pytest.mark.deep

AS_OF = datetime(2025, 3, 20, 12, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
MINUTE = timedelta(minutes=1)
SOME_EXAMPLES = examples(8)
Event = dict[str, Any]
Row = dict[str, Any]

_numbers = count(1)


def event(
    name: str,
    at: str | datetime,
    *,
    number: int | None = None,
    client: str = "acme",
    user: str | None = None,
    lead: str | None = None,
    context: Row | None = None,
    **properties: Any,
) -> Event:
    """`number` makes the event's id, and its place among events of the same instant."""
    return {
        "event_id": f"00000000-0000-0000-0000-{next(_numbers) if number is None else number:012x}",
        "event": name,
        "timestamp": at if isinstance(at, str) else at.isoformat(),
        "actor": {"client_id": client, "user_id": user, "lead_id": lead},
        "context": context,
        "properties": properties,
    }


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def call(at: str | datetime, status: float = 200, took: float = 10, **rest: Any) -> Event:
    properties = {"endpoint": "/v1", "method": "GET"} | rest
    return event("api_request", at, status_code=status, response_time_ms=took, **properties)


def window(start: datetime, calls: int, errors: int) -> list[Event]:
    """Calls of five minutes, the last of them just before the end."""
    return [
        call(start + (5 * MINUTE - MICROSECOND) * number / max(1, calls - 1), status)
        for number, status in enumerate([500] * errors + [200] * (calls - errors))
    ]


def reading(at: str | datetime, value: float, metric: str = "cpu_usage", **rest: Any) -> Event:
    properties = {"server_id": "web-1"} | rest
    return event("system_metric", at, metric_type=metric, metric_value=value, **properties)


def chat(at: str, *, user: str | None = "ann", **rest: Any) -> Event:
    return event("chat", at, user=user, **rest)


def payment(at: str, kind: str, amount: float, user: str = "ann", **rest: Any) -> Event:
    return event("revenue", at, user=user, type=kind, amount_usd=amount, **rest)


def user(user_id: str = "ann", **limits: Any) -> Row:
    return {"user_id": user_id, "created_at": "2025-01-01T00:00:00Z", **limits}


def used(producer: str, number: int | None, at: str) -> Event:
    return event("signup", at, context={"producer": producer, "sequence": number})


def picked(row: Row, *names: str) -> tuple[Any, ...]:
    return tuple(row[name] for name in names)


ALERT = ("severity", "resolved", "resolved_at", "created_at")


def test_calls_per_hour_and_day() -> None:
    events = [
        call("2025-03-10T08:00:00Z", 200, 0),
        call("2025-03-10T08:59:59.999999Z", 399, 10, client="_platform"),
        call("2025-03-10T08:30:00Z", 400.0, 105),
        call("2025-03-10T09:00:00Z", 599, 2.5),
        call("2025-03-10T08:30:00Z", 200, 7, method="get"),
    ]
    rows = api_performance_hourly(events, AS_OF)
    assert [picked(row, "method", "total_calls", "error_calls") for row in rows] == [
        ("GET", 3, 1),
        ("get", 1, 0),
        ("GET", 1, 1),
    ]
    assert picked(rows[0], "error_rate", "success_rate") == (Decimal("33.33"), Decimal("66.67"))
    # Of 0, 10, 105: the mean 38.33; p95 lies 0.9 from 10 to 105, p99 0.98.
    times = ("avg_response_time_ms", *(f"p{percent}_response_time_ms" for percent in (50, 95, 99)))
    assert picked(rows[0], *times) == (38, 10, 96, 103)
    assert picked(rows[2], *times) == (3, 3, 3, 3)
    [day, _] = api_performance_daily(events, AS_OF)
    # Of 0, 2.5, 10, 105: 29.375 and 6.25.
    assert picked(day, "date", "total_calls", *times[:2]) == (date(2025, 3, 10), 4, 29, 6)
    errors = api_errors(events, AS_OF)
    assert [picked(row, "status_code", "response_time_ms", "error_message") for row in errors] == [
        (400, Decimal(105), None),
        (599, Decimal("2.5"), None),
    ]


def test_readings_per_hour() -> None:
    events = [
        reading("2025-03-10T08:10:00Z", 3, number=2),
        reading("2025-03-10T08:10:00Z", 1.01, number=1),
        reading("2025-03-10T08:00:00Z", 5, client="globex"),
        reading("2025-03-10T08:10:00Z", 9, server_id="web-2"),
    ]
    [row, _] = system_metrics_hourly(events, AS_OF)
    # 9.01 of three: 3.00333.
    assert picked(row, "latest", "average", "minimum", "maximum", "readings") == (
        3,
        Decimal("3.00"),
        Decimal("1.01"),
        5,
        3,
    )


@pytest.mark.parametrize(
    ("calls", "errors", "severity"),
    [
        (20, 1, None),
        (20, 2, "medium"),
        (20, 4, "medium"),
        (20, 5, "high"),
        (20, 10, "high"),
        (20, 11, "critical"),
        (19, 19, None),
        (40, 2, None),
        (39, 2, "medium"),
    ],
)
def test_how_bad_a_window_is(calls: int, errors: int, severity: str | None) -> None:
    start = moment("2025-03-10T08:05:00Z")
    alerts = alert_history(window(start, calls, errors), [], AS_OF)
    expected = [] if severity is None else [(severity, True, start + 5 * MINUTE, start)]
    assert [picked(alert, *ALERT) for alert in alerts] == expected


def test_bad_windows_next_to_each_other_are_one_alert() -> None:
    start = moment("2025-03-10T08:00:00Z")
    events = [
        *window(start, 20, 2),
        *window(start + 5 * MINUTE, 20, 11),
        *window(start + 10 * MINUTE, 3, 3),
        *window(start + 15 * MINUTE, 20, 5),
    ]
    later = start + 15 * MINUTE
    alerts = alert_history(events, [], AS_OF)
    assert [picked(alert, *ALERT) for alert in alerts] == [
        ("critical", True, start + 10 * MINUTE, start),
        ("high", True, later + 5 * MINUTE, later),
    ]
    assert {picked(alert, "alert_type", "category", "acknowledged_by") for alert in alerts} == {
        ("warning", "performance", None)
    }


def test_an_alert_waits_for_complete_windows() -> None:
    start = moment("2025-03-10T08:00:00Z")
    events = window(start, 20, 2)

    def seen(as_of: datetime) -> list[Any]:
        return [picked(alert, *ALERT) for alert in alert_history(events, [], as_of)]

    assert seen(start + 5 * MINUTE - MICROSECOND) == []
    assert seen(start + 5 * MINUTE) == [("medium", False, None, start)]
    assert seen(start + 10 * MINUTE - MICROSECOND) == [("medium", False, None, start)]
    assert seen(start + 10 * MINUTE) == [("medium", True, start + 5 * MINUTE, start)]


def test_usage_alerts_come_with_the_first_limit_and_end_with_the_month() -> None:
    events = [
        chat("2025-02-10T08:00:00Z", tokens_prompt=None, cost_prompt=0.1),
        chat("2025-02-11T08:00:00Z", cost_prompt=0.3, client="globex"),
        chat("2025-02-12T08:00:00Z", cost_cached=0.1),
        chat("2025-03-01T00:00:00Z", user=None),
        *(chat(f"2025-03-0{day}T08:00:00Z") for day in range(1, 5)),
    ]
    # February: 0.4 of 0.5 is 80 %; March: the 4th of 5 messages.
    limits = user(monthly_cost_limit=0.5, monthly_message_limit=5, monthly_token_limit=10)
    march = moment("2025-03-01T00:00:00Z")
    assert [
        picked(alert, "alert_type", *ALERT) for alert in alert_history(events, [limits], AS_OF)
    ] == [
        ("warning", "medium", True, march, moment("2025-02-11T08:00:00Z")),
        ("error", "high", True, march, moment("2025-02-12T08:00:00Z")),
        ("warning", "medium", False, None, moment("2025-03-04T08:00:00Z")),
    ]
    at_the_end = alert_history(events, [limits], march)
    assert [alert["resolved"] for alert in at_the_end] == [True, True]
    assert not alert_history(events, [limits | {"created_at": "2025-03-20T12:00:00Z"}], AS_OF)
    # A limit of 0 is reached by the first chat, for both thresholds.
    none_allowed = alert_history(events[:1], [user(monthly_token_limit=0)], AS_OF)
    assert [alert["severity"] for alert in none_allowed] == ["medium", "high"]


def test_gaps_count_on_the_day_of_the_event_after_them() -> None:
    events = [
        used("web", 5, "2025-03-10T08:00:00Z"),
        used("web", 8, "2025-03-11T08:00:00Z"),
        used("web", 9.0, "2025-03-11T09:00:00Z"),
        # Late, and before the first until then.
        used("web", 2, "2025-03-12T08:00:00Z"),
        # Seen twice: of its first day.
        used("web", 9, "2025-03-12T09:00:00Z"),
        used("web", 100, "2025-03-21T00:00:00Z"),
        used("web", None, "2025-03-12T09:00:00Z"),
        used("", 100, "2025-03-12T09:00:00Z"),
    ]
    rows = ingest_loss_daily(events, [], AS_OF)
    assert [picked(row, "date", "events_seen", "gaps", "loss_percent") for row in rows] == [
        # 3 and 4 are missing before 5, 6 and 7 before 8.
        (date(2025, 3, 12), 1, 0, Decimal("0.00")),
        (date(2025, 3, 10), 1, 2, Decimal("66.67")),
        (date(2025, 3, 11), 2, 2, Decimal("50.00")),
        (date(2025, 3, 12), 1, 0, Decimal("0.00")),
    ]
    assert [row["producer"] for row in rows] == ["web", "web", "web", ""]


def test_lines_that_were_not_accepted_have_used_their_numbers() -> None:
    events = [used("web", 1, "2025-03-10T08:00:00Z"), used("web", 4, "2025-03-20T08:00:00Z")]
    others = [
        ("web", 2, date(2025, 3, 20)),
        ("web", 3, date(2025, 3, 21)),
        ("web", 1, date(2025, 3, 9)),
    ]
    rows = ingest_loss_daily(events, others, AS_OF)
    assert {row["date"].day: picked(row, "events_seen", "gaps") for row in rows} == {
        9: (1, 0),
        # The whole of the look's day counts; the next one has not begun.
        20: (2, 1),
    }
    at_midnight = ingest_loss_daily(events, others, moment("2025-03-20T00:00:00Z"))
    assert [picked(row, "date") for row in at_midnight] == [(date(2025, 3, 9),)]


def test_the_loss_of_a_sites_instances_is_added_up() -> None:
    def tracked(producer: str, number: int, dropped: int | None = None) -> Event:
        made = used(producer, number, "2025-03-10T08:00:00Z")
        made["context"]["dropped"] = dropped
        return made

    events = [
        tracked("web/1", 0), tracked("web/1", 3, 2), tracked("web/1", 3, 1),
        tracked("web/2/x", 9), tracked("web", 1, 5), tracked("app/1", 4),
    ]  # fmt: skip
    rows = ingest_loss_daily(events, [("web/2/x", 11, date(2025, 3, 10))], AS_OF)
    assert {row["producer"]: picked(row, "events_seen", "gaps", "dropped") for row in rows} == {
        "web": (5, 3, 7),
        "app": (1, 0, 0),
    }


def test_the_summary_of_periods() -> None:
    events = [
        payment("2025-03-20T11:00:00Z", "purchase", 10, user="ann"),
        payment("2025-03-20T11:30:00Z", "upgrade", 0.2, user="bob"),
        payment("2025-03-20T11:40:00Z", "refund", 0.1, user="cat"),
        payment("2025-03-20T10:59:59.999999Z", "subscription", 5, user="dan"),
        call("2025-03-20T11:50:00Z", 500, 11),
        call("2025-03-20T11:50:00Z", 200, 12),
        reading("2025-03-20T10:00:00Z", 7, "memory_usage"),
        reading("2025-03-20T11:20:00Z", 50.5, server_id="web-2"),
        reading("2025-03-20T11:20:00Z", 1, "disk"),
    ]
    rows = {row["period"]: row for row in dashboard_summary(events, AS_OF)}
    hour = rows["1h"]
    assert picked(hour, "users", "events", "events_per_user") == (3, 7, Decimal("2.33"))
    assert hour["event_types"] == {"revenue": 3, "api_request": 2, "system_metric": 2}
    assert picked(hour, "api_calls", "error_rate", "avg_response_time_ms") == (2, 50, 12)
    # 10.1 of two who paid.
    assert picked(hour, "revenue_usd", "average_revenue_per_user_usd") == (
        Decimal("10.1"),
        Decimal("5.05"),
    )
    assert picked(hour, "subscriptions", "upgrades") == (0, 1)
    assert picked(hour, "cpu_usage", "memory_usage") == (Decimal("50.5"), None)
    # One of the hour's twelve windows; since 10:00 two of twenty-four.
    assert hour["uptime_percent"] == Decimal("8.33")
    day = rows["24h"]
    assert picked(day, "uptime_percent", "memory_usage", "users") == (Decimal("8.33"), 7, 4)
    assert rows["30d"]["subscriptions"] == 1


def test_windows_of_uptime_lie_wholly_in_the_period() -> None:
    as_of = moment("2025-03-20T12:02:00Z")
    events = [reading("2025-03-20T11:03:00Z", 1), reading("2025-03-20T12:01:00Z", 1)]
    row = dashboard_summary(events, as_of)[0]
    # From 11:05 to 12:00 there are eleven, all without a reading.
    assert row["uptime_percent"] == Decimal("0.00")
    assert dashboard_summary(events[1:], as_of)[0]["uptime_percent"] is None
    assert dashboard_summary(events, as_of)[1]["uptime_percent"] == Decimal("8.33")


def test_a_summary_of_nothing() -> None:
    row = dashboard_summary([], AS_OF)[3]
    assert picked(row, "users", "events", "event_types", "revenue_usd") == (0, 0, {}, 0)
    for name in ("events_per_user", "error_rate", "cpu_usage", "uptime_percent"):
        assert row[name] is None


def test_engagement() -> None:
    events = [
        event("signup", "2025-03-19T12:00:00Z", user="ann", context={"session_id": "s-1"}),
        event("session", "2025-03-20T00:00:00Z", user="ann", context={"session_id": "s-1"}),
        chat("2025-03-20T00:00:00Z", client="globex", context={"session_id": "s-1"}),
        chat("2025-03-19T11:59:59.999999Z", context={"session_id": "s-2"}),
        chat("2025-03-20T00:00:00Z", context={"session_id": ""}),
        chat("2025-03-20T12:00:00Z", context={"session_id": "s-3"}),
        chat("2025-03-20T00:00:00Z", user=None),
    ]
    assert calculate_user_engagement(events, AS_OF, "ann", 1) == 4 * 2 + 2 * 5
    assert calculate_user_engagement(events, AS_OF, "ann") == 5 * 2 + 3 * 5
    assert calculate_user_engagement(events, AS_OF, "ann", 0) == 0
    assert calculate_user_engagement(events, AS_OF, None) == 0
    many = [chat("2025-03-20T00:00:00Z") for _ in range(51)]
    assert calculate_user_engagement(many, AS_OF, "ann") == 100
    assert get_daily_active_users(events, AS_OF) == 1
    assert get_daily_active_users(events, AS_OF, date(2025, 3, 18)) == 0


def test_the_conversion_rate_is_of_users_with_any_event() -> None:
    events = [
        payment("2025-02-18T12:00:00Z", "purchase", 0, user="ann"),
        payment("2025-03-20T00:00:00Z", "upgrade", 5, user="bob"),
        payment("2025-02-18T11:59:59.999999Z", "subscription", 5, user="cat"),
        chat("2025-03-20T00:00:00Z", user="cat"),
    ]
    assert calculate_conversion_rate(events, AS_OF) == Decimal("33.33")
    assert calculate_conversion_rate(events, AS_OF, 31) == Decimal("66.67")
    assert calculate_conversion_rate(events, AS_OF, 0) is None


def test_the_funnel_of_days() -> None:
    events = [
        event("lead_created", "2025-03-10T00:00:00Z", lead="l-1"),
        event("lead_created", "2025-03-11T23:59:59.999999Z", lead="l-2"),
        event("qualified", "2025-03-11T00:00:00Z", lead="l-3", value_cents="much"),
        event("job_won", "2025-03-11T00:00:00Z", lead="l-3", value_cents=50),
        event("job_won", "2025-03-11T01:00:00Z", lead="l-3", value_cents=50.0),
        event("lead_created", "2025-03-12T00:00:00Z", lead="l-4"),
        event("lead_created", "2025-03-10T00:00:00Z", lead="l-1", client="_platform"),
    ]
    days = date(2025, 3, 10), date(2025, 3, 11)
    rows = get_conversion_funnel(events, AS_OF, "acme", *days)
    assert [picked(row, "leads", "value_cents", "conversion_rate") for row in rows] == [
        (2, 0, 100),
        (0, 0, 0),
        (1, 0, None),
        (0, 0, 0),
        (0, 0, None),
        (1, 100, None),
    ]
    for client in ("_platform", "nobody"):
        nothing = get_conversion_funnel(events, AS_OF, client, *days)
        assert [picked(row, "leads", "conversion_rate") for row in nothing] == [(0, None)] * 6


@SOME_EXAMPLES
@given(operations_streams())
def test_the_streams_lines_are_accepted_or_lost(stream: Stream) -> None:
    events, _, _, others = stream
    for line in events:
        assert validate(json.dumps(line).encode(), RECEIVED_AT, set()).kind == "accepted", line
    for line in others:
        kind = validate(json.dumps(line).encode(), RECEIVED_AT, set()).kind
        assert kind in ("suppressed", "rejected"), line


@SOME_EXAMPLES
@given(operations_streams(), st.sampled_from(AS_OFS))
def test_the_marts_agree_with_each_other(stream: Stream, as_of: datetime) -> None:
    events, _, users, others = stream
    marts = all_marts(events, users, used_by(others), as_of)

    def total(mart: str, name: str) -> int:
        return sum(row[name] for row in marts[mart])

    for name in ("total_calls", "error_calls"):
        assert total("api_performance_hourly", name) == total("api_performance_daily", name)
    assert total("api_performance_daily", "error_calls") == len(marts["api_errors"])
    for alert in marts["alert_history"]:
        assert alert["resolved"] == (alert["resolved_at"] is not None)
        assert alert["created_at"] < as_of
    loss = Counter(picked(row, "producer", "date") for row in marts["ingest_loss_daily"])
    assert max(loss.values(), default=1) == 1
    assert all(row["events_seen"] > 0 for row in marts["ingest_loss_daily"])
    [*_, month] = marts["dashboard_summary"]
    assert month["events"] == sum(month["event_types"].values())
