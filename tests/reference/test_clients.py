"""The reference of the clients' marts says what the contract says: examples worked out by hand."""

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
from tests.properties.client_streams import AS_OFS, LEAP_DAY, Stream, client_streams
from tests.properties.strategies import RECEIVED_AT
from tests.reference.clients import (
    BUCKETS,
    FUNNEL_EVENTS,
    FUNNEL_STEPS,
    STAGES,
    all_marts,
    analytics_daily,
    analytics_monthly,
    analytics_weekly,
    bp,
    bucket_of,
    change,
    client_cohorts,
    cohort_retention,
    conversion_funnel,
    funnel_events,
    lead_cohort_funnel,
    lead_funnel,
    lead_sources,
    monday,
    month_after,
    months_between,
    pct,
    response_time_distribution,
    seconds,
)
from tests.reference.intake import validate

# The reference changes only with the contract.
pytestmark = pytest.mark.deep

AS_OF = datetime(2025, 3, 20, 12, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
SOME_EXAMPLES = examples(10)
Event = dict[str, Any]
Row = dict[str, Any]

_numbers = count(1)


def event(
    name: str,
    at: str,
    *,
    number: int | None = None,
    client: str = "acme",
    lead: str | None = "l-1",
    user: str | None = None,
    **properties: Any,
) -> Event:
    """`number` makes the event's id, and its place among events of the same instant."""
    return {
        "event_id": f"00000000-0000-0000-0000-{next(_numbers) if number is None else number:012x}",
        "event": name,
        "timestamp": at,
        "actor": {"client_id": client, "lead_id": lead, "user_id": user},
        "properties": properties,
    }


def inbound(at: str, **rest: Any) -> Event:
    return event("message", at, direction="inbound", **({"sender_type": "lead"} | rest))


def outbound(at: str, **rest: Any) -> Event:
    return event("message", at, direction="outbound", **({"sender_type": "ai"} | rest))


def client(client_id: str = "acme", created_at: str = "2025-03-01T00:00:00Z", **rest: Any) -> Row:
    return {"client_id": client_id, "created_at": created_at, **rest}


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def only(rows: list[Row], **key: Any) -> Row:
    [row] = [row for row in rows if all(row[name] == value for name, value in key.items())]
    return row


def picked(row: Row, *names: str) -> tuple[Any, ...]:
    return tuple(row[name] for name in names)


def column(rows: list[Row], name: str) -> list[Any]:
    return [row[name] for row in rows]


def days_of(rows: list[Row]) -> tuple[str, str, int]:
    days = column(rows, "date")
    return str(min(days)), str(max(days)), len(days)


def daily(events: list[Event], day: str, as_of: datetime = AS_OF) -> Row:
    return only(analytics_daily(events, [], as_of), date=date.fromisoformat(day))


def test_rates_are_rounded_half_away_from_zero() -> None:
    assert (bp(1, 3), bp(1, 16_000), bp(1, 0)) == (3333, 1, None)
    assert (pct(1, 8), pct(1, 200), pct(3, 2), pct(0, 0)) == (13, 1, 150, None)
    assert (change(7, 8), change(9, 8), change(0, 5)) == (-13, 13, -100)
    assert (change(5, 0), change(5, None)) == (None, None)


def test_months_and_weeks_go_over_the_ends_of_years() -> None:
    assert (month_after("2024-12", 1), month_after("2025-01", -1)) == ("2025-01", "2024-12")
    assert (month_after("2024-02", 12), months_between("2024-11", "2025-02")) == ("2025-02", 3)
    assert monday(date(2025, 1, 5)) == date(2024, 12, 30)
    assert monday(date(2024, 12, 30)) == date(2024, 12, 30)


def test_a_span_goes_from_the_first_sign_of_a_client_to_today() -> None:
    events = [
        event("signup", "2025-03-02T01:00:00+02:00", lead=None),
        event("signup", "2025-03-25T00:00:00Z", lead=None),
    ]
    assert days_of(analytics_daily(events, [], AS_OF)) == ("2025-03-01", "2025-03-20", 20)
    earlier = [client(created_at="2025-02-28T23:59:59Z")]
    assert days_of(analytics_daily(events, earlier, AS_OF))[0] == "2025-02-28"
    later = [client(created_at="2025-03-10T00:00:00Z")]
    assert days_of(analytics_daily(events, later, AS_OF))[0] == "2025-03-01"


def test_a_midnight_to_look_from_has_a_day_of_zeros() -> None:
    rows = analytics_daily([], [client()], datetime(2025, 3, 2, tzinfo=UTC))
    assert days_of(rows) == ("2025-03-01", "2025-03-02", 2)


@pytest.mark.parametrize(
    ("churned_at", "last_event", "last_day"),
    [
        ("2025-03-05T00:00:00Z", "2025-03-03T00:00:00Z", "2025-03-05"),
        ("2025-03-05T00:00:00Z", "2025-03-09T00:00:00Z", "2025-03-09"),
        ("2025-03-05T00:00:00Z", "2025-03-20T12:00:00Z", "2025-03-05"),
        ("2024-01-01T00:00:00Z", "2025-03-09T00:00:00Z", "2025-03-09"),
        ("2025-03-20T12:00:00Z", "2025-03-03T00:00:00Z", "2025-03-20"),
    ],
)
def test_a_churned_clients_span_ends_with_its_churn_or_its_last_event(
    churned_at: str, last_event: str, last_day: str
) -> None:
    entities = [client(churned_at=churned_at)]
    events = [event("signup", last_event, lead=None)]
    assert days_of(analytics_daily(events, entities, AS_OF))[1] == last_day


def test_a_client_that_churned_before_it_began_has_no_days_but_a_cohort() -> None:
    entities = [client(churned_at="2025-02-01T00:00:00Z")]
    assert analytics_daily([], entities, AS_OF) == []
    assert analytics_weekly([], entities, AS_OF) == []
    assert only(client_cohorts([], entities, AS_OF))["cohort_month"] == "2025-03"


def test_an_entity_of_the_future_is_an_inferred_client_by_its_events() -> None:
    entities = [
        client(created_at="2025-03-20T12:00:00Z", churned_at="2025-01-01T00:00:00Z"),
        client("later", created_at="2025-03-20T12:00:00Z"),
        client("_platform"),
    ]
    events = [
        event("chat", "2025-02-10T00:00:00Z"),
        event("chat", "2025-03-20T12:00:00Z", client="not-yet"),
    ]
    row = only(client_cohorts(events, entities, AS_OF))
    assert picked(row, "client_id", "cohort_month") == ("acme", "2025-02")
    assert days_of(analytics_daily(events, entities, AS_OF))[1] == "2025-03-20"


def test_the_platform_has_no_rows() -> None:
    events = [event(name, "2025-03-01T00:00:00Z", client="_platform") for name in FUNNEL_EVENTS[:2]]
    events.append(inbound("2025-03-01T00:00:00Z", client="_platform"))
    events.append(outbound("2025-03-01T00:00:01Z", client="_platform"))
    assert {name: rows for name, rows in all_marts(events, [], [], AS_OF).items() if rows} == {}


LEADS = [
    event("lead_created", "2025-03-03T10:00:00Z", number=2, source="referral", campaign="x"),
    # The same instant: the smaller id is the earlier.
    event("lead_created", "2025-03-03T10:00:00Z", number=1, source="web_form"),
    event("lead_created", "2025-03-04T00:00:00Z", lead="l-2", source="missed_call"),
    event("lead_created", "2025-03-03T23:59:59.999999Z", lead="l-3", source=""),
    event("lead_created", "2025-03-03T11:00:00Z", lead="l-4"),
    # Another client's lead of the same name.
    event("lead_created", "2025-03-01T00:00:00Z", client="globex", source="missed_call"),
]


def test_a_lead_is_new_once_with_the_source_it_first_had() -> None:
    rows = [row for row in analytics_daily(LEADS, [], AS_OF) if row["client_id"] == "acme"]
    names = (
        "new_leads",
        "leads_from_missed_calls",
        "leads_from_web_forms",
        "leads_from_referrals",
        "leads_from_other",
    )
    assert picked(rows[0], *names) == (3, 0, 1, 0, 2)
    assert picked(rows[1], *names) == (1, 1, 0, 0, 0)
    assert sum(column(rows, "new_leads")) == 4


def test_conversations_are_by_their_id_or_by_the_lead() -> None:
    events = [
        inbound("2025-03-03T10:00:00Z", conversation_id="c"),
        inbound("2025-03-03T10:00:00Z", conversation_id="c", lead="l-2"),
        inbound("2025-03-03T10:00:00Z", conversation_id=None),
        # The lead's id as a conversation's is the same conversation as none.
        inbound("2025-03-03T10:00:00Z", conversation_id="l-1", lead="l-2"),
        outbound("2025-03-04T10:00:00Z", conversation_id="c"),
        outbound("2025-03-04T10:00:00Z", conversation_id="", sender_type="human"),
        outbound("2025-03-04T10:00:00Z", conversation_id="", sender_type="lead"),
    ]
    assert daily(events, "2025-03-03")["total_conversations"] == 2
    second = daily(events, "2025-03-04")
    assert picked(second, "total_conversations", "ai_responses", "human_responses") == (2, 1, 1)
    assert picked(second, "inbound_messages", "outbound_messages") == (0, 3)
    week = only(analytics_weekly(events, [], AS_OF), week_start=date(2025, 3, 3))
    assert week["total_conversations"] == 3


TALK = [
    inbound("2025-03-03T23:59:00Z"),
    # At the same instant: no answer to it, whichever comes first.
    outbound("2025-03-03T23:59:00Z", number=0),
    inbound("2025-03-03T23:59:59Z"),
    outbound("2025-03-03T23:59:59.5Z", lead="l-2"),
    outbound("2025-03-04T00:04:00Z", sender_type="human"),
    outbound("2025-03-04T00:05:00Z"),
    inbound("2025-03-04T00:05:00Z"),
]


def test_the_answer_is_the_leads_next_outbound_message_strictly_later() -> None:
    # 300 s and 241 s, a mean of 270.5 s; the last message is not answered.
    assert daily(TALK, "2025-03-03")["avg_response_time_seconds"] == 271
    assert daily(TALK, "2025-03-04")["avg_response_time_seconds"] is None
    late = outbound("2025-03-20T11:59:59.999999Z")
    assert daily([*TALK, late], "2025-03-04")["avg_response_time_seconds"] == 1_425_300
    too_late = outbound("2025-03-20T12:00:00Z")
    assert daily([*TALK, too_late], "2025-03-04")["avg_response_time_seconds"] is None


def test_within_five_minutes_means_up_to_five_minutes() -> None:
    events = [
        *TALK,
        inbound("2025-03-05T00:00:00Z", lead="l-3"),
        outbound("2025-03-05T00:05:00.000001Z", lead="l-3"),
    ]
    week = only(analytics_weekly(events, [], AS_OF), week_start=date(2025, 3, 3))
    assert week["response_within_five_min"] == 67
    # (300 + 241 + 300.000001) / 3
    assert week["avg_response_time_seconds"] == 280


@pytest.mark.parametrize(
    ("microseconds", "bucket"),
    [
        (1, "Under 1 min"),
        (60_000_000, "Under 1 min"),
        (60_000_001, "1-5 min"),
        (300_000_000, "1-5 min"),
        (900_000_000, "5-15 min"),
        (900_000_001, "15-60 min"),
        (3_600_000_000, "15-60 min"),
        (3_600_000_001, "Over 1 hour"),
    ],
)
def test_a_bucket_keeps_its_bound(microseconds: int, bucket: str) -> None:
    assert bucket_of(seconds(microseconds * MICROSECOND)) == bucket


def test_a_month_with_an_answer_has_all_buckets_by_the_questions_month() -> None:
    events = [
        inbound("2025-01-31T23:59:59Z"),
        outbound("2025-02-01T00:00:00Z"),
        inbound("2025-02-02T00:00:00Z"),
    ]
    rows = response_time_distribution(events, AS_OF)
    assert column(rows, "month") == ["2025-01"] * 5
    assert column(rows, "bucket") == [bucket for bucket, _ in BUCKETS]
    assert column(rows, "responses") == [1, 0, 0, 0, 0]
    assert column(rows, "bucket_order") == [1, 2, 3, 4, 5]


def test_a_stage_is_the_latest_before_midnight_and_new_without_one() -> None:
    events = [
        event("lead_stage_changed", "2025-03-03T23:59:59.999999Z", number=1, stage="hot"),
        event("lead_stage_changed", "2025-03-03T23:59:59.999999Z", number=2, stage="booked"),
        event("lead_created", "2025-03-05T00:00:00Z"),
        event("lead_stage_changed", "2025-03-06T00:00:00Z", stage="lost"),
        event("lead_created", "2025-03-04T09:00:00Z", lead="l-2"),
        event("qualified", "2025-03-03T09:00:00Z", lead="l-3"),
    ]
    columns = [f"leads_{stage}" for stage in STAGES]
    # new, qualifying, nurturing, hot, booked, lost
    assert picked(daily(events, "2025-03-03"), *columns) == (0, 0, 0, 0, 1, 0)
    assert picked(daily(events, "2025-03-05"), *columns) == (1, 0, 0, 0, 1, 0)
    assert picked(daily(events, "2025-03-20"), *columns) == (1, 0, 0, 0, 0, 1)


def test_a_week_over_the_years_end_is_one_and_compares_with_the_one_before() -> None:
    events = [
        *[event("lead_created", "2024-12-27T00:00:00Z", lead=f"l-{n}") for n in range(8)],
        *[event("lead_created", "2024-12-31T00:00:00Z", lead=f"m-{n}") for n in range(4)],
        *[event("lead_created", "2025-01-01T00:00:00Z", lead=f"n-{n}") for n in range(3)],
        event("appointment_booked", "2025-01-05T23:59:59Z"),
        event("job_won", "2025-01-06T00:00:00Z", value_cents=100),
    ]
    first, second, third, fourth = analytics_weekly(events, [], datetime(2025, 1, 13, tzinfo=UTC))
    assert column([first, second, third, fourth], "week_start") == [
        date(2024, 12, 23),
        date(2024, 12, 30),
        date(2025, 1, 6),
        date(2025, 1, 13),
    ]
    assert picked(first, "new_leads", "leads_change_percent") == (8, None)
    # 7 is 12.5 % less than 8.
    assert picked(second, "new_leads", "leads_change_percent") == (7, -13)
    assert picked(second, "lead_to_appointment_rate", "appointment_to_job_rate") == (1429, 0)
    assert picked(third, "leads_change_percent", "revenue_change_percent") == (-100, None)
    assert picked(third, "overall_conversion_rate", "appointment_to_job_rate") == (None, None)
    # It has just begun: nothing is compared until it ends.
    assert picked(fourth, "leads_change_percent", "revenue_change_percent") == (None, None)
    weeks = (first, second, third, fourth)
    assert [week["is_complete"] for week in weeks] == [True, True, True, False]
    *_, ended, _ = analytics_weekly(events, [], datetime(2025, 1, 20, tzinfo=UTC))
    assert picked(ended, "revenue_change_percent", "is_complete") == (-100, True)


def test_a_month_adds_up() -> None:
    events = [
        event("lead_created", "2025-01-31T23:59:59.999999Z"),
        event("invoice_sent", "2025-01-31T00:00:00Z", value_cents=50),
        event("payment_received", "2025-01-31T01:00:00Z", value_cents=80),
        event("job_won", "2025-01-31T00:00:00Z", value_cents=7),
        event("job_won", "2025-02-01T00:00:00Z", value_cents=7),
        event("job_won", "2025-02-02T00:00:00Z", value_cents=8.0),
        event("invoice_sent", "2025-02-03T00:00:00Z", value_cents=100),
        event("qualified", "2025-02-03T00:00:00Z"),
        event("qualified", "2025-02-04T00:00:00Z"),
        event("api_cost", "2025-02-05T00:00:00Z", lead=None, cost_cents=8, service="llm"),
        event("review_received", "2025-02-06T00:00:00Z", rating=5),
        event("review_received", "2025-02-06T00:00:00Z", rating=4),
        event("review_received", "2025-02-06T00:00:00Z", rating=4),
        outbound("2025-02-06T00:00:00Z"),
        outbound("2025-02-06T00:00:00Z", sender_type="human"),
        inbound("2025-02-06T00:00:00Z"),
        event("escalation_opened", "2025-02-06T00:00:00Z"),
    ]
    january, february, march = analytics_monthly(events, [], AS_OF)
    assert picked(january, "outstanding_invoices_cents", "lead_to_job_rate") == (0, 10_000)
    assert picked(january, "roi_multiple", "previous_month_leads_change_pct") == (None, None)
    assert february == {
        "client_id": "acme",
        "month": "2025-02",
        "new_leads": 0,
        "qualified_leads": 1,
        "appointments_booked": 0,
        "quotes_generated": 0,
        "jobs_won": 2,
        "jobs_lost": 0,
        "revenue_attributed_cents": 15,
        # 7.5
        "avg_job_value_cents": 8,
        "payments_collected_cents": 0,
        # 150 invoiced, 80 paid.
        "outstanding_invoices_cents": 70,
        "total_messages": 3,
        "ai_handled_percent": 50,
        "escalation_rate": 33,
        "reviews_received": 3,
        "avg_rating": Decimal("4.33"),
        "five_star_reviews": 1,
        "lead_to_job_rate": None,
        "platform_cost_cents": 8,
        # 1.875
        "roi_multiple": Decimal("1.88"),
        # 15 is 114.29 % more than 7.
        "previous_month_revenue_change_pct": 114,
        "previous_month_leads_change_pct": -100,
        "is_complete": True,
    }
    assert picked(march, "month", "outstanding_invoices_cents") == ("2025-03", 70)
    assert picked(march, "avg_job_value_cents", "previous_month_leads_change_pct") == (None, None)


def test_funnel_events_carry_their_leads_first_source() -> None:
    events = [
        *LEADS[:2],
        event("quote_sent", "2025-03-01T00:00:00Z", value_cents=None, lead_id="l-9"),
        event("qualified", "2025-03-01T00:00:00Z", value_cents=4, lead="l-7"),
        event("invoice_sent", "2025-03-01T00:00:00Z", value_cents=4),
    ]
    events[3]["properties"] = None
    rows = funnel_events(events, AS_OF)
    assert Counter(column(rows, "event_type")) == {
        "lead_created": 2,
        "quote_sent": 1,
        "qualified": 1,
    }
    assert only(rows, event_type="quote_sent") == {
        "client_id": "acme",
        "event_id": events[2]["event_id"],
        "created_at": moment("2025-03-01T00:00:00Z"),
        "lead_id": "l-1",
        "event_type": "quote_sent",
        "event_data": {"value_cents": None, "lead_id": "l-9"},
        "value_cents": None,
        "source": "web_form",
        # The other one's campaign is not mixed in.
        "campaign": None,
    }
    assert picked(only(rows, lead_id="l-7"), "event_data", "source") == ({}, None)


def test_only_events_with_a_planned_value_have_one() -> None:
    events = [
        event(name, "2025-03-01T00:00:00Z", value_cents=4)
        for name in FUNNEL_EVENTS
        if name not in ("lead_created", "review_received")
    ]
    valued = {row["event_type"] for row in funnel_events(events, AS_OF) if row["value_cents"] == 4}
    assert valued == {"quote_sent", "job_won", "payment_received"}


def funnel(**minutes: int) -> list[Event]:
    """Events of one lead, each as many minutes after a midnight."""
    start = moment("2025-03-03T00:00:00Z")
    return [
        event(name, (start + timedelta(minutes=late)).isoformat(), **_needed(name))
        for name, late in minutes.items()
    ]


def _needed(name: str) -> Row:
    return {"value_cents": 10} if name == "job_won" else {}


@pytest.mark.parametrize(
    ("minutes", "furthest"),
    [
        (
            {"lead_created": 10, "first_response": 50, "qualified": 20, "appointment_booked": 30},
            "first_response",
        ),
        ({"lead_created": 10, "qualified": 10, "quote_sent": 10}, "quote_sent"),
        ({"lead_created": 10, "first_response": 9, "job_won": 11}, "job_won"),
        ({"lead_created": 10, "qualified": 9}, "lead_created"),
        ({"first_response": 9, "job_won": 11}, None),
        ({"lead_created": 10, "quote_requested": 11, "job_lost": 12}, "lead_created"),
    ],
)
def test_the_furthest_step_is_the_last_one_in_order(
    minutes: dict[str, int], furthest: str | None
) -> None:
    assert only(lead_funnel(funnel(**minutes), AS_OF))["furthest_step"] == furthest


def test_a_leads_row_keeps_first_times_and_sums() -> None:
    events = [
        event("lead_created", "2025-03-03T00:00:00Z", source="fair"),
        event("job_won", "2025-03-02T23:59:59Z", value_cents=10),
        event("job_won", "2025-03-10T00:00:00Z", value_cents=5),
        event("payment_received", "2025-03-11T00:00:00Z", value_cents=3),
        event("lead_stage_changed", "2025-03-11T00:00:00Z", lead="l-2", stage="hot"),
        event("qualified", "2025-03-11T00:00:00Z", lead="l-3"),
        event("invoice_sent", "2025-03-11T00:00:00Z", lead="l-4", value_cents=1),
        inbound("2025-03-11T00:00:00Z", lead="l-5"),
    ]
    rows = lead_funnel(events, AS_OF)
    assert sorted(column(rows, "lead_id")) == ["l-1", "l-2", "l-3"]
    row = only(rows, lead_id="l-1")
    assert picked(row, "won_value_cents", "collected_cents", "days_to_win") == (15, 3, -1)
    assert row["job_won_at"] == moment("2025-03-02T23:59:59Z")
    assert picked(row, "current_stage", "furthest_step", "source") == (
        "new",
        "lead_created",
        "fair",
    )
    names = ("current_stage", "lead_created_at", "days_to_win", "won_value_cents")
    assert picked(only(rows, lead_id="l-2"), *names) == ("hot", None, None, 0)
    assert picked(only(rows, lead_id="l-3"), *names) == (None, None, None, 0)


def test_the_conversion_funnel_counts_each_month_for_itself() -> None:
    events = [
        event("review_requested", "2025-01-01T00:00:00Z"),
        event("lead_created", "2025-02-01T00:00:00Z"),
        event("lead_created", "2025-02-02T00:00:00Z"),
        event("first_response", "2025-02-03T00:00:00Z"),
        event("first_response", "2025-02-03T00:00:00Z", lead="l-2"),
        event("first_response", "2025-02-03T00:00:00Z", lead="l-3"),
        event("qualified", "2025-02-03T00:00:00Z", value_cents=9),
        event("quote_sent", "2025-02-03T00:00:00Z", value_cents=9),
        event("quote_sent", "2025-02-04T00:00:00Z", value_cents=9),
        inbound("2025-03-03T00:00:00Z"),
    ]
    rows = conversion_funnel(events, AS_OF)
    assert column(rows, "month") == ["2025-01"] * 6 + ["2025-02"] * 6
    assert column(rows, "conversion_rate")[:6] == [None] * 6
    february = rows[6:]
    assert column(february, "stage") == list(FUNNEL_STEPS)
    assert column(february, "leads") == [1, 3, 1, 0, 1, 0]
    assert column(february, "value_cents") == [0, 0, 0, 0, 18, 0]
    assert column(february, "conversion_rate") == [100, 300, 33, 0, None, 0]


def test_a_cohorts_steps_count_for_less_than_ninety_days() -> None:
    created = moment("2024-12-31T23:59:59.999999Z")

    def after(name: str, elapsed: timedelta, lead: str) -> Event:
        return event(name, (created + elapsed).isoformat(), lead=lead, **_needed(name))

    ninety_days = timedelta(days=90)
    events = [
        after("lead_created", timedelta(), "a"),
        after("lead_created", ninety_days, "a"),
        after("first_response", ninety_days - MICROSECOND, "a"),
        after("qualified", ninety_days, "a"),
        after("lead_created", timedelta(), "b"),
        after("first_response", ninety_days, "b"),
        # In order after the lead's creation, but before the step that comes too late.
        after("qualified", timedelta(days=1), "b"),
        after("lead_created", timedelta(), "c"),
        after("first_response", timedelta(minutes=18), "c"),
    ]
    mature = datetime(2025, 4, 1, tzinfo=UTC)
    rows = lead_cohort_funnel(events, mature)
    assert column(rows, "stage") == list(FUNNEL_STEPS)
    assert column(rows, "leads") == [3, 2, 0, 0, 0, 0]
    assert column(rows, "conversion_rate") == [100, 67, 0, 0, 0, 0]
    # Halfway between 2160 h less a microsecond and 0.3 h.
    assert column(rows, "median_hours_from_created")[:3] == [0, Decimal("1080.15"), None]
    assert set(column(rows, "cohort_month")) == {"2024-12"}
    # December's end and 90 days.
    assert set(column(rows, "is_mature")) == {True}
    too_early = lead_cohort_funnel(events, mature - MICROSECOND)
    assert set(column(too_early, "is_mature")) == {False}


def test_sources_earn_what_their_leads_ever_won() -> None:
    events = [
        event("lead_created", "2025-02-28T23:59:59Z", source="fair"),
        event("lead_created", "2025-02-27T00:00:00Z", lead="l-2", source=None),
        event("lead_created", "2025-02-27T00:00:00Z", lead="l-3", source="other"),
        event("lead_created", "2025-02-27T00:00:00Z", lead="l-4", source=""),
        event("job_won", "2025-01-01T00:00:00Z", lead="l-2", value_cents=5),
        event("job_won", "2025-03-20T00:00:00Z", lead="l-2", value_cents=6),
        event("job_won", "2025-03-20T12:00:00Z", lead="l-4", value_cents=6),
    ]
    rows = lead_sources(events, AS_OF)
    measures = ("month", "leads", "conversions", "revenue_cents", "conversion_rate")
    assert picked(only(rows, source="other"), *measures) == ("2025-02", 2, 1, 11, 50)
    assert picked(only(rows, source=""), *measures) == ("2025-02", 1, 0, 0, 0)
    assert len(rows) == 3


def test_a_clients_month_is_true_at_once_and_false_when_over() -> None:
    entities = [client(created_at="2024-12-31T23:59:59Z")]
    events = [
        event("job_won", "2024-12-31T00:00:00Z", value_cents=1),
        event("job_won", "2025-01-01T00:00:00Z", value_cents=2),
        event("signup", "2025-03-02T00:00:00Z", lead=None),
    ]
    activity = [f"month_{number}_active" for number in (1, 2, 3, 6, 12)]
    revenue = [f"month_{number}_revenue_cents" for number in (1, 3, 6, 12)]

    def at(as_of: str) -> Row:
        return only(client_cohorts(events, entities, moment(as_of)))

    assert picked(at("2025-02-28T23:59:59.999999Z"), *activity) == (True, None, None, None, None)
    assert picked(at("2025-03-01T00:00:00Z"), *activity) == (True, False, None, None, None)
    assert picked(at("2025-03-20T00:00:00Z"), *activity) == (True, False, True, None, None)
    assert picked(at("2026-01-01T00:00:00Z"), *activity) == (True, False, True, False, False)
    assert picked(at("2025-02-28T23:59:59.999999Z"), *revenue) == (2, None, None, None)
    assert picked(at("2025-03-01T00:00:00Z"), *revenue) == (2, 0, None, None)
    assert at("2025-03-01T00:00:00Z")["lifetime_revenue_cents"] == 3
    assert at("2025-03-01T00:00:00Z")["cohort_month"] == "2024-12"


def test_retention_follows_cohorts_of_clients_and_of_users() -> None:
    entities = [client(created_at="2025-01-15T00:00:00Z"), client("b", "2025-01-31T23:59:59Z")]
    users = [
        {"user_id": "ann", "created_at": "2025-02-01T00:00:00Z"},
        {"user_id": "late", "created_at": "2025-03-20T12:00:00Z"},
    ]
    events = [
        event("job_won", "2025-02-01T00:00:00Z", value_cents=7, user="bob"),
        event("signup", "2025-02-02T00:00:00Z", client="_platform", user="bob"),
        event("signup", "2025-03-02T00:00:00Z", client="_platform", user="ann"),
        event("signup", "2025-01-02T00:00:00Z", client="_platform", user="ann"),
    ]
    rows = cohort_retention(events, entities, users, AS_OF)
    measures = (
        "cohort_size",
        "active",
        "retention_rate",
        "revenue_cents",
        "is_complete",
    )
    found = {
        picked(row, "cohort_type", "cohort_month", "month_number"): picked(row, *measures)
        for row in rows
    }
    assert found == {
        ("client", "2025-01", 0): (2, 0, 0, 0, True),
        ("client", "2025-01", 1): (2, 1, 50, 7, True),
        ("client", "2025-01", 2): (2, 0, 0, 0, False),
        # Ann by her entity, Bob by his first event, the platform's events like any other's.
        ("user", "2025-02", 0): (2, 1, 50, None, True),
        ("user", "2025-02", 1): (2, 1, 50, None, False),
    }


@SOME_EXAMPLES
@given(client_streams())
def test_streams_are_accepted_whole(stream: Stream) -> None:
    seen: set[Any] = set()
    for each in stream[0]:
        assert validate(json.dumps(each).encode(), RECEIVED_AT, seen).kind == "accepted"


KEYS = {
    "analytics_daily": ("client_id", "date"),
    "analytics_weekly": ("client_id", "week_start"),
    "analytics_monthly": ("client_id", "month"),
    "funnel_events": ("client_id", "event_id", "created_at"),
    "lead_funnel": ("client_id", "lead_id"),
    "conversion_funnel": ("client_id", "month", "stage"),
    "lead_cohort_funnel": ("client_id", "cohort_month", "stage"),
    "lead_sources": ("client_id", "month", "source"),
    "response_time_distribution": ("client_id", "month", "bucket"),
    "client_cohorts": ("client_id",),
    "cohort_retention": ("cohort_type", "cohort_month", "month_number"),
}


@SOME_EXAMPLES
@given(client_streams(), st.sampled_from(AS_OFS))
def test_the_marts_agree_with_each_other(stream: Stream, as_of: datetime) -> None:
    marts = all_marts(*stream, as_of)
    assert set(marts) == set(KEYS)
    for mart, key in KEYS.items():
        assert max(Counter(picked(row, *key) for row in marts[mart]).values(), default=1) == 1

    def total(mart: str, name: str) -> int:
        return sum(row[name] for row in marts[mart])

    for name in ("new_leads", "jobs_won", "revenue_attributed_cents", "appointments_booked"):
        assert total("analytics_daily", name) == total("analytics_weekly", name)
        assert total("analytics_daily", name) == total("analytics_monthly", name)
    assert total("lead_sources", "leads") == total("analytics_daily", "new_leads")
    assert total("client_cohorts", "lifetime_revenue_cents") == total(
        "analytics_daily", "revenue_attributed_cents"
    )
    assert total("lead_funnel", "won_value_cents") == total(
        "analytics_daily", "revenue_attributed_cents"
    )
    staged = Counter(row["current_stage"] for row in marts["lead_funnel"])
    last_days = {row["client_id"]: row for row in marts["analytics_daily"]}
    for stage in STAGES:
        assert sum(row[f"leads_{stage}"] for row in last_days.values()) == staged[stage]


@SOME_EXAMPLES
@given(client_streams(), st.sampled_from(AS_OFS), st.randoms(use_true_random=False))
def test_the_order_of_arrival_means_nothing(stream: Stream, as_of: datetime, random: Any) -> None:
    events, clients, users = stream
    shuffled = random.sample(events, len(events))

    def as_sets(marts: dict[str, Any]) -> dict[str, list[str]]:
        return {
            mart: sorted(json.dumps(row, default=str, sort_keys=True) for row in rows)
            for mart, rows in marts.items()
        }

    assert as_sets(all_marts(shuffled, clients, users, as_of)) == as_sets(
        all_marts(events, clients, users, as_of)
    )


def test_streams_reach_back_to_a_leap_day() -> None:
    assert {moment.date() for moment in LEAP_DAY} == {date(2024, 2, 29), date(2024, 3, 1)}
