"""The reference of the AI usage marts says what the contract says: examples worked out by hand."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import examples
from tests.properties.ai_streams import AS_OFS, Stream, chat_streams
from tests.properties.strategies import RECEIVED_AT
from tests.reference.ai_usage import (
    PLANNED,
    all_marts,
    as_decimal,
    chat_events,
    document_popularity,
    document_usage,
    exact,
    pct2,
    percentile,
    rounded,
    rounded_whole,
    system_daily_metrics,
    user_current_month,
    user_daily_usage,
    user_monthly_summary,
    user_monthly_usage,
    user_recent_activity,
)
from tests.reference.intake import PLAN, validate

# The reference changes only with the contract.
pytestmark = pytest.mark.deep

AS_OF = datetime(2025, 3, 20, 12, tzinfo=UTC)
SOME_EXAMPLES = examples(13)
# A moment of a chat where the test does not say.
MOMENT = "2025-03-10T10:00:00Z"

Event = dict[str, Any]


def event(
    name: str,
    at: str = MOMENT,
    *,
    number: int = 1,
    client: str = "acme",
    user: str | None = "ann",
    **properties: Any,
) -> Event:
    """`number` makes the event's id, and its place among events of the same instant."""
    return {
        "event_id": f"00000000-0000-0000-0000-{number:012x}",
        "event": name,
        "timestamp": at,
        "actor": {"client_id": client, "user_id": user},
        "properties": properties,
    }


def chat(at: str = MOMENT, **rest: Any) -> Event:
    return event("chat", at, **rest)


def feedback(at: str = MOMENT, **rest: Any) -> Event:
    return event("chat_feedback", at, **rest)


def user(user_id: str = "ann", created_at: str = "2024-01-01T00:00:00Z", **limits: Any) -> Event:
    return {"user_id": user_id, "created_at": created_at, **limits}


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def only(rows: list[dict[str, Any]]) -> dict[str, Any]:
    [row] = rows
    return row


def picked(row: dict[str, Any], *names: str) -> tuple[Any, ...]:
    return tuple(row[name] for name in names)


@pytest.mark.parametrize(
    ("number", "places", "expected"),
    [
        ("0.005", 2, "0.01"),
        ("0.0049999999999999999999999999999999", 2, "0.00"),
        ("2.5", 0, "3"),
        ("3.5", 0, "4"),
        ("-2.5", 0, "-3"),
        ("-0.5", 0, "-1"),
        ("1.005", 2, "1.01"),
        ("0.0000005", 6, "0.000001"),
        ("999999999999999.5", 0, "1000000000000000"),
    ],
)
def test_halves_are_rounded_away_from_zero(number: str, places: int, expected: str) -> None:
    assert rounded(Fraction(number), places) == Decimal(expected)


@pytest.mark.parametrize(
    ("part", "whole", "expected"),
    [
        (1, 3, "33.33"),
        (2, 3, "66.67"),
        (1, 800, "0.13"),
        (3, 800, "0.38"),
        (5, 4, "125"),
        (0, 7, "0"),
        (1, 0, None),
    ],
)
def test_a_percentage_has_two_places_and_none_over_nothing(
    part: int, whole: int, expected: str | None
) -> None:
    assert pct2(part, whole) == (None if expected is None else Decimal(expected))


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([], "0.5", None),
        (["7"], "0.95", 7),
        (["2", "1"], "0.5", 2),
        (["1", "3", "2"], "0.5", 2),
        # 0.95 * 1 of the way from 0 to 10 is 9.5.
        (["0", "10"], "0.95", 10),
        # Position 0.95 * 4 = 3.8: from 30 eight tenths of the way to 40.
        (["0", "10", "20", "30", "40"], "0.95", 38),
        # The float nearest to this median would be 0.5 and become 1.
        (["0.4999999999999999999", "0.4999999999999999999"], "0.5", 0),
        # Position 0.95 * 10 = 9.5 exactly.
        ([str(each) for each in range(11)], "0.95", 10),
    ],
)
def test_a_percentile_is_continuous_and_rounded_once(
    values: list[str], share: str, expected: int | None
) -> None:
    numbers = [Fraction(value) for value in values]
    assert rounded_whole(percentile(numbers, Fraction(share))) == expected


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0.1, "0.1"),
        (1e-08, "0.00000001"),
        (1e15, "1000000000000000"),
        (5e-324, "5e-324"),
        (Decimal("0.1234567890123456789012345678901234567"), None),
    ],
)
def test_a_number_is_what_is_written(number: Any, expected: str | None) -> None:
    assert as_decimal(exact(number)) == Decimal(expected or str(number))


def test_what_a_chat_leaves_out_is_zero_false_or_unknown() -> None:
    bare = chat(user=None)
    del bare["properties"]
    nulls = chat(user="", number=2, **dict.fromkeys(PLANNED))
    first, second = chat_events([bare, nulls], AS_OF)
    assert first == {
        "client_id": "acme",
        "event_id": "00000000-0000-0000-0000-000000000001",
        "created_at": moment(MOMENT),
        "created_on": date(2025, 3, 10),
        "user_id": None,
        "conversation_id": None,
        "message_id": None,
        "document_id": None,
        "model_name": None,
        "model_version": None,
        "model_provider": None,
        "tokens_prompt": 0,
        "tokens_completion": 0,
        "tokens_cached": 0,
        "cost_prompt": 0,
        "cost_completion": 0,
        "cost_cached": 0,
        "response_time_ms": None,
        "cache_hit": False,
        "user_query_length": None,
        "ai_response_length": None,
        "error_occurred": False,
        "error_code": None,
        "error_message": None,
        "query_intent": None,
        "sections_referenced": None,
        "intermediate_steps": None,
        "metadata": {},
        "tokens_total": 0,
        "cost_total": 0,
        "cost_saved": 0,
        "user_feedback_rating": None,
        "user_feedback_text": None,
        "user_feedback_at": None,
    }
    assert second == first | {"event_id": "00000000-0000-0000-0000-000000000002"}


def test_a_chat_keeps_what_it_says() -> None:
    row = only(
        chat_events(
            [
                chat(
                    "2025-03-10T23:30:00-02:00",
                    conversation_id="",
                    document_id="",
                    tokens_prompt=100.0,
                    tokens_completion=20,
                    tokens_cached=7,
                    cost_prompt=0.1,
                    cost_completion=0.2,
                    cost_cached=0.00000001,
                    cache_hit=True,
                    response_time_ms=12.25,
                    user_query_length=-1,
                    sections_referenced=[],
                    channel="web",
                    rating=None,
                )
            ],
            AS_OF,
        )
    )
    assert row["created_at"] == datetime(2025, 3, 11, 1, 30, tzinfo=UTC)
    assert picked(row, "conversation_id", "document_id") == ("", "")
    assert picked(row, "tokens_prompt", "tokens_total", "tokens_cached") == (100, 120, 7)
    assert row["cost_total"] == Decimal("0.30000001")
    assert row["cost_saved"] == Decimal("0.29999999")
    assert row["response_time_ms"] == Decimal("12.25")
    assert picked(row, "user_query_length", "sections_referenced") == (-1, [])
    assert row["metadata"] == {"channel": "web", "rating": None}


@pytest.mark.parametrize(
    ("cache_hit", "cost_cached", "expected"),
    [(True, 0.1, "0.2"), (True, 0.5, "-0.2"), (False, 0.1, "0"), (None, 0.1, "0")],
)
def test_only_a_cache_hit_saves_and_it_may_cost_more(
    cache_hit: bool | None, cost_cached: float, expected: str
) -> None:
    row = only(
        chat_events(
            [chat(cost_prompt=0.3, cost_cached=cost_cached, cache_hit=cache_hit)],
            AS_OF,
        )
    )
    assert row["cost_saved"] == Decimal(expected)


def test_a_chat_at_the_look_is_not_seen_yet() -> None:
    before, at = "2025-03-20T11:59:59.999999Z", "2025-03-20T12:00:00Z"
    assert [row["created_at"] for row in chat_events([chat(at), chat(before)], AS_OF)] == [
        moment(before)
    ]


LATER = "2025-03-12T10:00:00Z"
EARLIER = "2025-03-09T10:00:00Z"


@pytest.mark.parametrize(
    ("events", "ratings"),
    [
        pytest.param([chat(message_id="m")], [None], id="none"),
        pytest.param(
            [chat(message_id="m"), feedback(LATER, message_id="m", rating=4.0)], [4], id="later"
        ),
        pytest.param(
            [chat(message_id="m"), feedback(EARLIER, message_id="m", rating=2)], [2], id="earlier"
        ),
        pytest.param(
            [
                chat(message_id="m"),
                feedback(LATER, message_id="m", rating=5),
                feedback(EARLIER, message_id="m", rating=1),
            ],
            [5],
            id="the latest wins, not the last to arrive",
        ),
        pytest.param(
            [
                chat(message_id="m"),
                feedback(LATER, number=0xA, message_id="m", rating=5),
                feedback(LATER, number=9, message_id="m", rating=1),
            ],
            [5],
            id="of one instant the greater id wins",
        ),
        pytest.param(
            [
                chat(message_id="m", number=3),
                chat(message_id="m", number=2),
                feedback(LATER, message_id="m", rating=5),
            ],
            [5, None],
            id="the first chat of one instant has it",
        ),
        pytest.param(
            [chat(message_id="m"), feedback(LATER, client="beta", message_id="m", rating=5)],
            [None],
            id="another client's message",
        ),
        pytest.param(
            [chat(message_id="m"), feedback(LATER, user="bob", message_id="m", rating=5)],
            [5],
            id="whoever rates",
        ),
        pytest.param(
            [chat(), feedback(LATER, message_id="m", rating=5)], [None], id="no message id"
        ),
        pytest.param(
            [chat(message_id=""), feedback(LATER, message_id="", rating=5)], [5], id="empty id"
        ),
        pytest.param(
            [
                chat(message_id="m"),
                feedback(LATER, message_id="m", rating=5),
                feedback("2025-03-20T12:00:00Z", message_id="m", rating=1),
            ],
            [5],
            id="one that is not seen yet",
        ),
        pytest.param(
            [
                event("message", EARLIER, message_id="m"),
                chat(message_id="m"),
                feedback(LATER, message_id="m", rating=5),
            ],
            [5],
            id="a CRM message is no chat",
        ),
    ],
)
def test_feedback_belongs_to_the_first_chat_of_its_message(
    events: list[Event], ratings: list[int | None]
) -> None:
    assert [row["user_feedback_rating"] for row in chat_events(events, AS_OF)] == ratings


def test_the_latest_feedback_wins_with_its_missing_text() -> None:
    row = only(
        chat_events(
            [
                chat(message_id="m"),
                feedback(MOMENT, message_id="m", rating=5, text="good"),
                feedback(LATER, message_id="m", rating=1, text=None),
            ],
            AS_OF,
        )
    )
    assert picked(row, "user_feedback_rating", "user_feedback_text", "user_feedback_at") == (
        1,
        None,
        moment(LATER),
    )


def test_feedback_counts_on_the_day_of_its_chat() -> None:
    events = [
        chat(message_id="m", document_id="d"),
        chat(LATER, message_id="n", document_id="d"),
        feedback(LATER, message_id="m", rating=4),
        feedback(LATER, message_id="unheard-of", rating=1),
    ]
    expected = [(date(2025, 3, 10), 4), (date(2025, 3, 12), None)]
    for rows in (
        user_daily_usage(events, AS_OF),
        document_usage(events, AS_OF),
        system_daily_metrics(events, AS_OF),
    ):
        assert [picked(row, "date", "avg_feedback_rating") for row in rows] == expected
    assert [row["feedback_count"] for row in user_daily_usage(events, AS_OF)] == [1, 0]


def test_a_day_ends_at_midnight_utc() -> None:
    events = [
        chat("2025-03-10T23:59:59.999999Z"),
        chat("2025-03-11T00:00:00Z"),
        chat("2025-03-11T01:59:59+02:00"),
    ]
    assert {row["date"]: row["message_count"] for row in user_daily_usage(events, AS_OF)} == {
        date(2025, 3, 10): 2,
        date(2025, 3, 11): 1,
    }


def test_a_users_day_is_counted_over_all_clients() -> None:
    row = only(
        user_daily_usage(
            [
                chat(
                    conversation_id="c",
                    document_id="d",
                    tokens_prompt=1,
                    tokens_cached=5,
                    cost_prompt=0.1,
                    cache_hit=True,
                    response_time_ms=0,
                ),
                chat(
                    number=2,
                    conversation_id="c",
                    document_id="d",
                    tokens_completion=2,
                    cost_completion=0.2,
                    response_time_ms=10,
                    error_occurred=True,
                ),
                chat(
                    number=3,
                    client="beta",
                    conversation_id="c",
                    document_id="d",
                    response_time_ms=5.0,
                ),
                chat(number=4),
            ],
            AS_OF,
        )
    )
    assert row == {
        "user_id": "ann",
        "date": date(2025, 3, 10),
        "message_count": 4,
        # The same id under two clients is two conversations, and one document.
        "conversation_count": 2,
        "document_count": 1,
        "tokens_total": 3,
        "tokens_cached": 5,
        "cache_hit_count": 1,
        "cost_total": Decimal("0.3"),
        "cost_saved_by_cache": Decimal("0.1"),
        # 0, 5 and 10: the chat without a time does not count.
        "avg_response_time_ms": 5,
        "median_response_time_ms": 5,
        "p95_response_time_ms": 10,
        "error_count": 1,
        "avg_feedback_rating": None,
        "feedback_count": 0,
    }


def test_chats_without_user_or_document_have_a_row_where_the_key_is_needed() -> None:
    this_week = "2025-03-19T10:00:00Z"
    events = [chat(this_week, user=None), chat(this_week, user="", number=2)]
    assert only(user_daily_usage(events, AS_OF))["user_id"] == "none"
    assert only(user_monthly_usage(events, [], AS_OF))["user_id"] == "none"
    assert only(user_monthly_summary(events, [], AS_OF))["user_id"] == "none"
    usage = only(document_usage(events, AS_OF))
    assert picked(usage, "document_id", "query_count", "unique_users") == ("none", 2, 0)
    system = only(system_daily_metrics(events, AS_OF))
    assert picked(
        system, "total_messages", "active_users", "new_users", "total_documents_accessed"
    ) == (2, 0, 0, 0)
    assert user_current_month(events, [], AS_OF) == []
    assert user_recent_activity(events, [], AS_OF) == []
    assert document_popularity(events, [], AS_OF) == []


def test_a_month_is_computed_from_its_chats_not_from_its_days() -> None:
    events = [
        chat("2025-03-01T00:00:00Z", response_time_ms=0),
        chat("2025-03-02T00:00:00Z", response_time_ms=10, conversation_id="c", cache_hit=True),
        chat("2025-03-02T08:00:00Z", response_time_ms=20, conversation_id="c"),
        chat("2025-03-03T08:00:00Z", response_time_ms=10, conversation_id="c"),
        chat("2025-02-28T23:59:59.999999Z", response_time_ms=999),
        chat("2024-03-02T08:00:00Z", response_time_ms=999),
    ]
    rows = {row["year_month"]: row for row in user_monthly_usage(events, [], AS_OF)}
    assert sorted(rows) == ["2024-03", "2025-02", "2025-03"]
    march = rows["2025-03"]
    assert picked(march, "year", "month", "message_count", "active_days") == (2025, 3, 4, 3)
    # The mean of the three daily means would be 8.
    assert picked(march, "avg_response_time_ms", "conversation_count") == (10, 1)
    assert picked(march, "cache_hit_rate", "error_rate") == (Decimal("25"), Decimal("0"))
    assert march["last_activity_at"] == moment("2025-03-03T08:00:00Z")


FIVE_CHATS = [
    chat(f"2025-03-0{day}T10:00:00Z", tokens_prompt=20, cost_prompt=0.1) for day in range(1, 6)
]


@pytest.mark.parametrize(
    ("entity", "reached_on", "notified_80"),
    [
        pytest.param(user(), None, False, id="no limits"),
        pytest.param(user(monthly_message_limit=None), None, False, id="a limit that is null"),
        pytest.param(user(monthly_message_limit=0), 1, True, id="0 is reached by the first"),
        pytest.param(user(monthly_token_limit=0), 1, True, id="0 tokens as well"),
        pytest.param(user(monthly_message_limit=5), 5, True, id="at the limit"),
        pytest.param(user(monthly_message_limit=6), None, True, id="five of six are 83 percent"),
        pytest.param(user(monthly_message_limit=7), None, False, id="five of seven are 71"),
        pytest.param(user(monthly_token_limit=125), None, True, id="80 percent exactly"),
        pytest.param(user(monthly_token_limit=126), None, False, id="79.37 percent"),
        pytest.param(user(monthly_cost_limit="0.30"), 3, True, id="a CSV cell"),
        pytest.param(user(monthly_cost_limit=0.3), 3, True, id="three tenths are 0.3"),
        pytest.param(user(monthly_cost_limit=0.30000001), 4, True, id="a little more is not"),
        pytest.param(user(monthly_cost_limit=0.62500001), None, False, id="just under 80 percent"),
        pytest.param(
            user(monthly_message_limit=4, monthly_token_limit=40, monthly_cost_limit=9),
            2,
            True,
            id="whichever comes first",
        ),
        pytest.param(user("bob", monthly_message_limit=0), None, False, id="another user's"),
        pytest.param(
            user(created_at="2025-03-20T12:00:00Z", monthly_message_limit=0),
            None,
            False,
            id="created at the look",
        ),
        pytest.param(
            user(created_at="2025-03-20T11:59:59.999999Z", monthly_message_limit=0),
            1,
            True,
            id="created after the chats, before the look",
        ),
    ],
)
def test_a_limit_is_reached_by_the_chat_that_comes_to_it(
    entity: Event, reached_on: int | None, notified_80: bool
) -> None:
    row = only(user_monthly_usage(list(reversed(FIVE_CHATS)), [entity], AS_OF))
    reached_at = None if reached_on is None else moment(f"2025-03-0{reached_on}T10:00:00Z")
    assert row["limit_reached_at"] == reached_at
    assert row["limit_reached"] is (reached_on is not None)
    assert row["notified_100_percent"] is (reached_on is not None)
    assert row["notified_80_percent"] is notified_80
    assert (row["limit_approached_at"] is not None) is notified_80


def test_a_limit_is_approached_by_the_chat_that_comes_to_80_percent_of_it() -> None:
    row = only(user_monthly_usage(FIVE_CHATS, [user(monthly_message_limit=5)], AS_OF))
    assert row["limit_approached_at"] == moment("2025-03-04T10:00:00Z")
    assert row["limit_reached_at"] == moment("2025-03-05T10:00:00Z")


def test_a_cost_limit_of_zero_is_reached_by_a_chat_that_costs_nothing() -> None:
    row = only(user_monthly_usage([chat()], [user(monthly_cost_limit=0)], AS_OF))
    assert row["limit_approached_at"] == moment(MOMENT)
    assert picked(row, "limit_reached", "limit_reached_at") == (True, moment(MOMENT))


def test_a_limit_starts_anew_each_month() -> None:
    events = [chat("2025-02-28T10:00:00Z"), chat("2025-03-01T00:00:00Z")]
    rows = user_monthly_usage(events, [user(monthly_message_limit=2)], AS_OF)
    assert [row["limit_reached"] for row in rows] == [False, False]


@pytest.mark.parametrize(
    ("limits", "percent", "remaining", "status"),
    [
        pytest.param({}, None, None, "normal", id="no limits"),
        pytest.param({"monthly_message_limit": 7}, "71.43", 2, "normal", id="5 of 7"),
        pytest.param({"monthly_token_limit": 125}, "80", None, "approaching", id="80 exactly"),
        pytest.param({"monthly_token_limit": 112}, "89.29", None, "approaching", id="89"),
        pytest.param(
            {"monthly_cost_limit": 0.55555556},
            "90.00",
            None,
            "approaching",
            id="shown as 90, and under it",
        ),
        pytest.param({"monthly_cost_limit": 0.55555555}, "90", None, "warning", id="over 90"),
        pytest.param({"monthly_cost_limit": 0.50000001}, "100", None, "warning", id="shown as 100"),
        pytest.param({"monthly_message_limit": 5}, "100", 0, "limit_reached", id="at it"),
        pytest.param({"monthly_message_limit": 4}, "125", 0, "limit_reached", id="beyond it"),
        pytest.param(
            {"monthly_message_limit": 100, "monthly_token_limit": 110},
            "90.91",
            95,
            "warning",
            id="the highest of them",
        ),
        pytest.param({"monthly_message_limit": 0}, None, 0, "limit_reached", id="0 alone"),
        pytest.param(
            {"monthly_message_limit": 0, "monthly_token_limit": 1000},
            "10",
            0,
            "limit_reached",
            id="0 beside another",
        ),
    ],
)
def test_the_current_month_says_how_far_the_limits_are_used(
    limits: dict[str, Any], percent: str | None, remaining: int | None, status: str
) -> None:
    row = only(user_current_month(FIVE_CHATS, [user(**limits)], AS_OF))
    assert picked(row, "usage_percent", "messages_remaining", "status") == (
        None if percent is None else Decimal(percent),
        remaining,
        status,
    )


def test_the_current_month_is_the_one_that_holds_the_look_itself() -> None:
    last_of_february = chat("2025-02-28T23:59:59.999999Z")
    first_of_march = chat("2025-03-01T00:00:00Z")
    midnight = datetime(2025, 3, 1, tzinfo=UTC)
    assert user_current_month([last_of_february], [], midnight) == []
    row = only(
        user_current_month([last_of_february, first_of_march], [], midnight.replace(microsecond=1))
    )
    assert picked(row, "year_month", "message_count") == ("2025-03", 1)


def test_the_summary_is_the_month_without_limits() -> None:
    users = [user(monthly_message_limit=1)]
    monthly = only(user_monthly_usage([chat()], users, AS_OF))
    summary = only(user_monthly_summary([chat()], users, AS_OF))
    assert summary.pop("month_start") == date(2025, 3, 1)
    assert set(monthly) - set(summary) == {
        "monthly_message_limit",
        "monthly_token_limit",
        "monthly_cost_limit",
        "limit_reached",
        "limit_reached_at",
        "limit_approached_at",
        "notified_80_percent",
        "notified_100_percent",
    }
    assert summary == {name: monthly[name] for name in summary}


def test_a_documents_day_is_measured_by_its_chats() -> None:
    row = only(
        document_usage(
            [
                chat(document_id="d", tokens_prompt=1, cache_hit=True, conversation_id="c"),
                chat(document_id="d", tokens_prompt=2, number=2, user="bob", client="beta"),
                chat(document_id="d", number=3, user=None, cost_cached=0.1, error_occurred=True),
                chat(document_id="d", number=4, tokens_completion=3),
            ],
            AS_OF,
        )
    )
    assert row == {
        "document_id": "d",
        "date": date(2025, 3, 10),
        "query_count": 4,
        "unique_users": 2,
        "conversation_count": 1,
        "tokens_total": 6,
        "avg_tokens_per_query": 2,
        "cost_total": Decimal("0.1"),
        "avg_response_time_ms": None,
        "cache_hit_rate": Decimal("25"),
        "avg_feedback_rating": None,
        "feedback_count": 0,
        "error_count": 1,
        "top_sections": [],
    }


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        ([None, []], []),
        ([["a", "a"], ["b"]], [("a", 2), ("b", 1)]),
        ([["b", "a", "B"]], [("B", 1), ("a", 1), ("b", 1)]),
        # By code point, where UTF-16 would put the emoji first, and a number's size says nothing.
        (
            [["😀", "ﬁ", "é", "z", "10", "2", ""]],
            [(each, 1) for each in ("", "10", "2", "z", "é", "ﬁ", "😀")],
        ),
        (
            [list("lkjihgfedcba"), ["l"]],
            [("l", 2), *((each, 1) for each in "abcdefghi")],
        ),
    ],
)
def test_top_sections_are_the_ten_most_referenced(
    lists: list[list[str] | None], expected: list[tuple[str, int]]
) -> None:
    events = [
        chat(number=number, document_id="d", sections_referenced=sections)
        for number, sections in enumerate(lists)
    ]
    found = only(document_usage(events, AS_OF))["top_sections"]
    assert found == [{"section": section, "count": count} for section, count in expected]


def test_a_systems_day_counts_what_is_known() -> None:
    row = only(
        system_daily_metrics(
            [
                chat(
                    conversation_id="c",
                    document_id="d",
                    model_name="small",
                    tokens_prompt=3,
                    tokens_cached=1,
                    cost_prompt=0.1,
                    response_time_ms=0,
                ),
                chat(number=2, client="beta", conversation_id="c", response_time_ms=10),
                chat(number=3, user=None, model_name="unknown", error_occurred=True),
            ],
            AS_OF,
        )
    )
    assert row == {
        "date": date(2025, 3, 10),
        "active_users": 1,
        "new_users": 1,
        "total_messages": 3,
        "total_conversations": 2,
        "total_documents_accessed": 1,
        "tokens_total": 3,
        "tokens_cached": 1,
        "cache_hit_rate": Decimal("0"),
        "cost_total": Decimal("0.1"),
        "cost_per_message": Decimal("0.033333"),
        "cost_saved_by_cache": Decimal("0"),
        "avg_response_time_ms": 5,
        "p95_response_time_ms": 10,
        "error_count": 1,
        "error_rate": Decimal("33.33"),
        "avg_feedback_rating": None,
        "model_distribution": {"small": 1, "unknown": 2},
    }


def test_models_beyond_a_days_hundred_most_used_are_one() -> None:
    names = [*(f"m{number:03}" for number in range(100)), "Z", "zz", "other"]
    events = [
        chat(number=number, model_name=name)
        for number, name in enumerate([*names, *names[:98], "zz", "zz"])
    ]
    models = only(system_daily_metrics(events, AS_OF))["model_distribution"]
    assert len(models) == 101
    assert (models["zz"], models["m000"], models["Z"]) == (3, 2, 1)
    # Of those of one message the first by code point keeps its name: `Z`, and not `m098`.
    assert models["other"] == 3
    assert "m098" not in models


def test_a_user_is_new_on_the_day_of_the_first_chat_ever_under_any_client() -> None:
    events = [
        event("signup", "2025-03-08T10:00:00Z"),
        chat("2025-03-10T10:00:00Z", client="beta"),
        chat("2025-03-10T11:00:00Z", user="bob"),
        chat("2025-03-09T10:00:00Z"),
    ]
    rows = system_daily_metrics(events, AS_OF)
    assert [picked(row, "date", "active_users", "new_users") for row in rows] == [
        (date(2025, 3, 9), 1, 1),
        (date(2025, 3, 10), 2, 1),
    ]


WINDOW_CHATS = [
    chat("2025-03-20T11:59:59.999999Z", document_id="d", cost_prompt=0.1, message_id="m"),
    chat("2025-03-13T12:00:00Z", document_id="d", cost_prompt=0.2, user="bob"),
    chat("2025-03-13T11:59:59.999999Z", document_id="d", cost_prompt=1, user=None),
    chat("2025-02-18T12:00:00Z", document_id="d", cost_prompt=10, response_time_ms=4),
    chat("2025-02-18T11:59:59.999999Z", document_id="d", cost_prompt=100, response_time_ms=5),
    feedback("2025-03-20T11:59:59.999999Z", number=2, message_id="m", rating=4),
]


def test_recent_activity_goes_back_seven_days_to_the_microsecond() -> None:
    documents = [{"document_id": "d", "city": "Bern", "zone": "W2", "zoning": "living"}]
    last, first = user_recent_activity(WINDOW_CHATS, documents, AS_OF)[::-1]
    assert first["created_at"] == moment("2025-03-13T12:00:00Z")
    assert last == {
        "user_id": "ann",
        "created_at": moment("2025-03-20T11:59:59.999999Z"),
        "conversation_id": None,
        "document_id": "d",
        "tokens_total": 0,
        "cost_total": Decimal("0.1"),
        "response_time_ms": None,
        "cache_hit": False,
        "error_occurred": False,
        "city": "Bern",
        "zone": "W2",
    }
    assert user_recent_activity(WINDOW_CHATS, [], AS_OF)[0]["city"] is None


def test_popularity_has_three_windows_and_counts_known_users() -> None:
    assert only(document_popularity(WINDOW_CHATS, [], AS_OF)) == {
        "document_id": "d",
        "city": None,
        "zoning": None,
        "zone": None,
        "queries_7d": 2,
        "users_7d": 2,
        "cost_7d": Decimal("0.3"),
        "queries_30d": 4,
        "users_30d": 2,
        "cost_30d": Decimal("11.3"),
        "queries_total": 5,
        "users_total": 2,
        "cost_total": Decimal("111.3"),
        "avg_rating": Decimal("4"),
        "avg_response_time_ms": 5,
        "last_accessed_at": moment("2025-03-20T11:59:59.999999Z"),
    }


def test_a_document_that_nobody_asks_about_any_more_keeps_its_totals() -> None:
    row = only(
        document_popularity(
            [chat("2024-03-10T10:00:00Z", document_id="")],
            [{"document_id": "", "zoning": "living"}, {"document_id": "unasked"}],
            AS_OF,
        )
    )
    assert picked(row, "document_id", "zoning", "city") == ("", "living", None)
    assert picked(row, "queries_30d", "cost_30d", "queries_total") == (0, 0, 1)


def test_the_planned_properties_are_the_plans() -> None:
    assert set(PLAN["chat"]["required"]) | set(PLAN["chat"]["optional"]) == PLANNED


@SOME_EXAMPLES
@given(chat_streams())
def test_streams_are_accepted_whole(stream: Stream) -> None:
    seen: set[Any] = set()
    for each in stream[0]:
        assert validate(json.dumps(each).encode(), RECEIVED_AT, seen).kind == "accepted"


@SOME_EXAMPLES
@given(chat_streams(), st.sampled_from(AS_OFS))
def test_the_marts_agree_with_each_other(stream: Stream, as_of: datetime) -> None:
    marts = all_marts(*stream, as_of)
    chats = marts["chat_events"]
    for mart in ("user_daily_usage", "user_monthly_usage"):
        assert sum(row["message_count"] for row in marts[mart]) == len(chats)
    assert sum(row["query_count"] for row in marts["document_usage"]) == len(chats)
    assert sum(
        sum(row["model_distribution"].values()) for row in marts["system_daily_metrics"]
    ) == (len(chats))
    assert sum(row["new_users"] for row in marts["system_daily_metrics"]) == len(
        {row["user_id"] for row in chats} - {None}
    )
    keys = {
        "chat_events": ("client_id", "event_id", "created_at"),
        "user_daily_usage": ("user_id", "date"),
        "user_monthly_usage": ("user_id", "year", "month"),
        "document_usage": ("document_id", "date"),
        "system_daily_metrics": ("date",),
        "user_monthly_summary": ("user_id", "year", "month"),
        "user_current_month": ("user_id",),
        "document_popularity": ("document_id",),
    }
    for mart, key in keys.items():
        assert max(Counter(picked(row, *key) for row in marts[mart]).values(), default=1) == 1


@SOME_EXAMPLES
@given(chat_streams(), st.sampled_from(AS_OFS), st.randoms(use_true_random=False))
def test_the_order_of_arrival_means_nothing(stream: Stream, as_of: datetime, random: Any) -> None:
    events, users, documents = stream
    shuffled = random.sample(events, len(events))

    def as_sets(marts: dict[str, Any]) -> dict[str, list[str]]:
        return {
            mart: sorted(json.dumps(row, default=str, sort_keys=True) for row in rows)
            for mart, rows in marts.items()
        }

    assert as_sets(all_marts(shuffled, users, documents, as_of)) == as_sets(
        all_marts(events, users, documents, as_of)
    )
