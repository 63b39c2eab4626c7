"""What the AI usage marts hold, computed as slowly and plainly as the contract describes it.

Written to be checked against the contract by reading; it imports nothing from the product.

Events are dicts as they came (`event`, `event_id` in lower case, `timestamp`, `actor`,
`properties`), accepted ones alone, each (client_id, event_id, timestamp) once. Users and documents
are the entities as they stand now, one dict for each key, their times written as in events, empty
CSV cells already absent; limits on messages and tokens are whole. `as_of` knows its time zone.

Rows are dicts with the contract's columns, without `updated_at`. Whole numbers are int, other
numbers Decimal (as they are, or rounded where the contract rounds), times datetime in UTC, days
date, jsonb lists and dicts. The order of rows means nothing; `user_recent_activity` may hold two
equal ones.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from math import floor
from typing import Any, TypeVar

from tests.reference.intake import instant

Event = dict[str, Any]
Entity = dict[str, Any]
Row = dict[str, Any]
Key = TypeVar("Key", bound=Hashable)

NONE = "none"
UNKNOWN_MODEL = "unknown"
SEVEN_DAYS = timedelta(hours=7 * 24)
THIRTY_DAYS = timedelta(hours=30 * 24)
TOP_SECTIONS = 10
# So many models of a day keep their name; all others are counted together.
MODELS_BY_NAME = 100
OTHER_MODELS = "other"

TEXTS = (
    "conversation_id",
    "message_id",
    "document_id",
    "model_name",
    "model_version",
    "model_provider",
    "error_code",
    "error_message",
    "query_intent",
)
TOKENS = ("tokens_prompt", "tokens_completion", "tokens_cached")
COSTS = ("cost_prompt", "cost_completion", "cost_cached")
FLAGS = ("cache_hit", "error_occurred")
WHOLE_NUMBERS = ("user_query_length", "ai_response_length", "intermediate_steps")
PLANNED = {
    *TEXTS,
    *TOKENS,
    *COSTS,
    *FLAGS,
    *WHOLE_NUMBERS,
    "response_time_ms",
    "sections_referenced",
}

# What each limit of a user is held against, in a month's row.
LIMITED = {
    "monthly_message_limit": "message_count",
    "monthly_token_limit": "tokens_total",
    "monthly_cost_limit": "cost_total",
}
NOT_IN_SUMMARY = {
    *LIMITED,
    "limit_reached",
    "limit_reached_at",
    "limit_approached_at",
    "notified_80_percent",
    "notified_100_percent",
}


def all_marts(
    events: list[Event], users: list[Entity], documents: list[Entity], as_of: datetime
) -> dict[str, list[Row]]:
    """Return the rows of every mart and view of the section, by its name."""
    return {
        "chat_events": chat_events(events, as_of),
        "user_daily_usage": user_daily_usage(events, as_of),
        "user_monthly_usage": user_monthly_usage(events, users, as_of),
        "document_usage": document_usage(events, as_of),
        "system_daily_metrics": system_daily_metrics(events, as_of),
        "user_monthly_summary": user_monthly_summary(events, users, as_of),
        "user_current_month": user_current_month(events, users, as_of),
        "user_recent_activity": user_recent_activity(events, documents, as_of),
        "document_popularity": document_popularity(events, documents, as_of),
    }


def chat_events(events: list[Event], as_of: datetime) -> list[Row]:
    """One row per chat, in order; what is unknown is None here, keys of people and things too."""
    seen = visible_in_order(events, as_of)

    latest_feedback = {}
    for event in seen:
        if event["event"] == "chat_feedback":
            message = (event["actor"]["client_id"], event["properties"]["message_id"])
            latest_feedback[message] = event

    rows = []
    messages_met = set()
    for event in seen:
        if event["event"] != "chat":
            continue
        row = _chat(event)
        message = (row["client_id"], row["message_id"])
        is_first = row["message_id"] is not None and message not in messages_met
        messages_met.add(message)
        row |= _feedback(latest_feedback.get(message) if is_first else None)
        rows.append(row)
    return rows


def _chat(event: Event) -> Row:
    properties = _properties(event)
    tokens = {name: int(exact(properties.get(name, 0))) for name in TOKENS}
    costs = {name: exact(properties.get(name, 0)) for name in COSTS}
    cache_hit = properties.get("cache_hit", False)

    cost_total = costs["cost_prompt"] + costs["cost_completion"] + costs["cost_cached"]
    saved_by_a_hit = costs["cost_prompt"] + costs["cost_completion"] - costs["cost_cached"]

    row: Row = {
        "client_id": event["actor"]["client_id"],
        "event_id": event["event_id"],
        "created_at": happened_at(event),
        "created_on": happened_at(event).date(),
        # An empty string in the actor counts as absent, elsewhere it is a value.
        "user_id": event["actor"].get("user_id") or None,
    }
    row |= {name: properties.get(name) for name in TEXTS}
    row |= tokens
    row |= {name: as_decimal(cost) for name, cost in costs.items()}
    row |= {name: properties.get(name, False) for name in FLAGS}
    for name in WHOLE_NUMBERS:
        row[name] = int(exact(properties[name])) if name in properties else None
    response_time = properties.get("response_time_ms")
    row["response_time_ms"] = None if response_time is None else as_decimal(exact(response_time))
    row["sections_referenced"] = properties.get("sections_referenced")
    # As they came: a null outside the plan is kept.
    outside_the_plan = (event.get("properties") or {}).items()
    row["metadata"] = {name: value for name, value in outside_the_plan if name not in PLANNED}
    row["tokens_total"] = tokens["tokens_prompt"] + tokens["tokens_completion"]
    row["cost_total"] = as_decimal(cost_total)
    row["cost_saved"] = as_decimal(saved_by_a_hit if cache_hit else Fraction(0))
    return row


def _feedback(event: Event | None) -> Row:
    if event is None:
        return {
            "user_feedback_rating": None,
            "user_feedback_text": None,
            "user_feedback_at": None,
        }
    properties = _properties(event)
    return {
        "user_feedback_rating": int(exact(properties["rating"])),
        "user_feedback_text": properties.get("text"),
        "user_feedback_at": happened_at(event),
    }


def user_daily_usage(events: list[Event], as_of: datetime) -> list[Row]:
    """One row per user (`none` without) and day with a chat."""
    chats = chat_events(events, as_of)
    days = grouped(chats, lambda chat: (chat["user_id"] or NONE, day_of(chat)))
    return [
        {"user_id": user_id, "date": day} | _usage(day_chats)
        for (user_id, day), day_chats in days.items()
    ]


def user_monthly_usage(events: list[Event], users: list[Entity], as_of: datetime) -> list[Row]:
    """One row per user (`none` without), year and month with a chat."""
    chats = chat_events(events, as_of)
    months = grouped(
        chats,
        lambda chat: (chat["user_id"] or NONE, chat["created_at"].year, chat["created_at"].month),
    )
    rows = []
    for (user_id, year, month), month_chats in months.items():
        key = {
            "user_id": user_id,
            "year": year,
            "month": month,
            "year_month": f"{year:04}-{month:02}",
        }
        activity = {
            "active_days": len({day_of(chat) for chat in month_chats}),
            "cache_hit_rate": _share(month_chats, "cache_hit"),
            "error_rate": _share(month_chats, "error_occurred"),
            "last_activity_at": max(chat["created_at"] for chat in month_chats),
            "is_complete": datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC) <= as_of,
        }
        limits = _limits(user_id, users, as_of)
        rows.append(key | _usage(month_chats) | activity | _against_limits(month_chats, limits))
    return rows


def _usage(chats: list[Row]) -> Row:
    """The measures that a user's day and a user's month share; `chats` are all of its chats."""
    return {
        "message_count": len(chats),
        "conversation_count": _conversations(chats),
        "document_count": len(known(chats, "document_id")),
        "tokens_total": sum(chat["tokens_total"] for chat in chats),
        "tokens_cached": sum(chat["tokens_cached"] for chat in chats),
        "cache_hit_count": sum(chat["cache_hit"] for chat in chats),
        "cost_total": _sum(chats, "cost_total"),
        "cost_saved_by_cache": _sum(chats, "cost_saved"),
        "avg_response_time_ms": rounded_whole(mean(_values(chats, "response_time_ms"))),
        "median_response_time_ms": rounded_whole(
            percentile(_values(chats, "response_time_ms"), Fraction(50, 100))
        ),
        "p95_response_time_ms": rounded_whole(
            percentile(_values(chats, "response_time_ms"), Fraction(95, 100))
        ),
        "error_count": sum(chat["error_occurred"] for chat in chats),
        "avg_feedback_rating": rounded(mean(_values(chats, "user_feedback_rating")), 2),
        "feedback_count": len(_values(chats, "user_feedback_rating")),
    }


def _limits(user_id: str, users: list[Entity], as_of: datetime) -> dict[str, Fraction | None]:
    """What the user's entity allows in a month; it says nothing before it was created.

    The key of everybody unknown is nobody's: an entity of that name limits no one.
    """
    for user in users if user_id != NONE else ():
        if user["user_id"] == user_id and instant(user["created_at"]) < as_of:
            return {name: None if user.get(name) is None else exact(user[name]) for name in LIMITED}
    return dict.fromkeys(LIMITED)


def _against_limits(chats: list[Row], limits: dict[str, Fraction | None]) -> Row:
    """What a month's chats, in order, have come to. A limit of 0 is reached by the first."""
    used = dict.fromkeys(LIMITED, Fraction(0))
    approached_at = reached_at = None
    for chat in chats:
        used["monthly_message_limit"] += 1
        used["monthly_token_limit"] += chat["tokens_total"]
        used["monthly_cost_limit"] += Fraction(chat["cost_total"])
        if approached_at is None and comes_to(used, limits, percent=80):
            approached_at = chat["created_at"]
        if reached_at is None and comes_to(used, limits, percent=100):
            reached_at = chat["created_at"]
    return {
        "monthly_message_limit": _whole_or_none(limits["monthly_message_limit"]),
        "monthly_token_limit": _whole_or_none(limits["monthly_token_limit"]),
        "monthly_cost_limit": _decimal_or_none(limits["monthly_cost_limit"]),
        "limit_reached": comes_to(used, limits, percent=100),
        "limit_reached_at": reached_at,
        "limit_approached_at": approached_at,
        "notified_80_percent": comes_to(used, limits, percent=80),
        "notified_100_percent": comes_to(used, limits, percent=100),
    }


def comes_to(
    used: dict[str, Fraction], limits: dict[str, Fraction | None], *, percent: int
) -> bool:
    """Whether usage is at or above this much of any limit, without rounding."""
    return any(
        limit is not None and used[name] >= limit * percent / 100 for name, limit in limits.items()
    )


def document_usage(events: list[Event], as_of: datetime) -> list[Row]:
    """One row per document (`none` without) and day with a chat."""
    chats = chat_events(events, as_of)
    days = grouped(
        chats,
        # An empty id is a value.
        lambda chat: (NONE if chat["document_id"] is None else chat["document_id"], day_of(chat)),
    )
    return [
        {
            "document_id": document_id,
            "date": day,
            "query_count": len(day_chats),
            "unique_users": len(known(day_chats, "user_id")),
            "conversation_count": _conversations(day_chats),
            "tokens_total": sum(chat["tokens_total"] for chat in day_chats),
            "avg_tokens_per_query": rounded_whole(mean(_values(day_chats, "tokens_total"))),
            "cost_total": _sum(day_chats, "cost_total"),
            "avg_response_time_ms": rounded_whole(mean(_values(day_chats, "response_time_ms"))),
            "cache_hit_rate": _share(day_chats, "cache_hit"),
            "avg_feedback_rating": rounded(mean(_values(day_chats, "user_feedback_rating")), 2),
            "feedback_count": len(_values(day_chats, "user_feedback_rating")),
            "error_count": sum(chat["error_occurred"] for chat in day_chats),
            "top_sections": top_sections(day_chats),
        }
        for (document_id, day), day_chats in days.items()
    ]


def top_sections(chats: Iterable[Row]) -> list[dict[str, Any]]:
    """Return the ten sections that are referenced most; twice in one chat counts twice."""
    counts = Counter(section for chat in chats for section in chat["sections_referenced"] or [])
    # Python compares strings by code point.
    most_first = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [{"section": section, "count": count} for section, count in most_first[:TOP_SECTIONS]]


def _under_few_names(models: Counter[str]) -> dict[str, int]:
    """Return a day's chats by model, all but those of the most used ones under `other`."""
    most_first = sorted(models.items(), key=lambda item: (-item[1], item[0]))
    named = dict(most_first[:MODELS_BY_NAME])
    rest = sum(count for _, count in most_first[MODELS_BY_NAME:])
    return named | {OTHER_MODELS: named.get(OTHER_MODELS, 0) + rest} if rest else named


def system_daily_metrics(events: list[Event], as_of: datetime) -> list[Row]:
    """One row per day with a chat; users and documents that are unknown are not counted."""
    chats = chat_events(events, as_of)

    first_days: dict[str, date] = {}
    for chat in chats:
        if chat["user_id"] is not None:
            first_days.setdefault(chat["user_id"], day_of(chat))

    rows = []
    for day, day_chats in grouped(chats, day_of).items():
        models = Counter(
            UNKNOWN_MODEL if chat["model_name"] is None else chat["model_name"]
            for chat in day_chats
        )
        response_times = _values(day_chats, "response_time_ms")
        rows.append(
            {
                "date": day,
                "active_users": len(known(day_chats, "user_id")),
                "new_users": sum(first_day == day for first_day in first_days.values()),
                "total_messages": len(day_chats),
                "total_conversations": _conversations(day_chats),
                "total_documents_accessed": len(known(day_chats, "document_id")),
                "tokens_total": sum(chat["tokens_total"] for chat in day_chats),
                "tokens_cached": sum(chat["tokens_cached"] for chat in day_chats),
                "cache_hit_rate": _share(day_chats, "cache_hit"),
                "cost_total": _sum(day_chats, "cost_total"),
                "cost_per_message": rounded(mean(_values(day_chats, "cost_total")), 6),
                "cost_saved_by_cache": _sum(day_chats, "cost_saved"),
                "avg_response_time_ms": rounded_whole(mean(response_times)),
                "p95_response_time_ms": rounded_whole(
                    percentile(response_times, Fraction(95, 100))
                ),
                "error_count": sum(chat["error_occurred"] for chat in day_chats),
                "error_rate": _share(day_chats, "error_occurred"),
                "avg_feedback_rating": rounded(mean(_values(day_chats, "user_feedback_rating")), 2),
                "model_distribution": _under_few_names(models),
            }
        )
    return rows


def user_monthly_summary(events: list[Event], users: list[Entity], as_of: datetime) -> list[Row]:
    """`user_monthly_usage` with the month's first day, without the limits."""
    return [
        {name: value for name, value in row.items() if name not in NOT_IN_SUMMARY}
        | {"month_start": date(row["year"], row["month"], 1)}
        for row in user_monthly_usage(events, users, as_of)
    ]


def user_current_month(events: list[Event], users: list[Entity], as_of: datetime) -> list[Row]:
    """One row per known user with a chat in the calendar month that contains `as_of` itself."""
    this_month = as_of.astimezone(UTC).strftime("%Y-%m")
    rows = []
    for row in user_monthly_usage(events, users, as_of):
        if row["user_id"] == NONE or row["year_month"] != this_month:
            continue
        limits = _limits(row["user_id"], users, as_of)
        used = {limit: Fraction(row[measure]) for limit, measure in LIMITED.items()}
        percents = [
            pct2(used[name], limit)
            for name, limit in limits.items()
            if limit is not None and limit != 0
        ]
        message_limit = row["monthly_message_limit"]
        if row["limit_reached"]:
            status = "limit_reached"
        elif comes_to(used, limits, percent=90):
            status = "warning"
        elif comes_to(used, limits, percent=80):
            status = "approaching"
        else:
            status = "normal"
        rows.append(
            {name: value for name, value in row.items() if name != "limit_approached_at"}
            | {
                "usage_percent": max(percents, default=None),
                "messages_remaining": (
                    None if message_limit is None else max(0, message_limit - row["message_count"])
                ),
                "status": status,
            }
        )
    return rows


def user_recent_activity(
    events: list[Event], documents: list[Entity], as_of: datetime
) -> list[Row]:
    """One row per chat of a known user in the seven times 24 hours before `as_of`."""
    from_the_chat = (
        "user_id",
        "created_at",
        "conversation_id",
        "document_id",
        "tokens_total",
        "cost_total",
        "response_time_ms",
        "cache_hit",
        "error_occurred",
    )
    return [
        {name: chat[name] for name in from_the_chat}
        | _of_document(chat["document_id"], documents, ("city", "zone"))
        for chat in since(as_of - SEVEN_DAYS, chat_events(events, as_of))
        if chat["user_id"] is not None
    ]


def document_popularity(events: list[Event], documents: list[Entity], as_of: datetime) -> list[Row]:
    """One row per known document with a chat, whether or not it has an entity."""
    chats = [chat for chat in chat_events(events, as_of) if chat["document_id"] is not None]
    rows = []
    for document_id, total in grouped(chats, lambda chat: chat["document_id"]).items():
        row = {"document_id": document_id}
        row |= _of_document(document_id, documents, ("city", "zoning", "zone"))
        windows = (
            ("7d", "cost_7d", since(as_of - SEVEN_DAYS, total)),
            ("30d", "cost_30d", since(as_of - THIRTY_DAYS, total)),
            ("total", "cost_total", total),
        )
        for name, cost, window in windows:
            row[f"queries_{name}"] = len(window)
            row[f"users_{name}"] = len(known(window, "user_id"))
            row[cost] = _sum(window, "cost_total")
        row["avg_rating"] = rounded(mean(_values(total, "user_feedback_rating")), 2)
        row["avg_response_time_ms"] = rounded_whole(mean(_values(total, "response_time_ms")))
        row["last_accessed_at"] = max(chat["created_at"] for chat in total)
        rows.append(row)
    return rows


def _of_document(document_id: str | None, documents: list[Entity], names: Iterable[str]) -> Row:
    for document in documents:
        if document["document_id"] == document_id:
            return {name: document.get(name) for name in names}
    return dict.fromkeys(names)


def visible_in_order(events: Iterable[Event], as_of: datetime) -> list[Event]:
    """Return the events before `as_of`, by time and then by id as a UUID.

    Two events may share both, under two clients; nothing here depends on which of them is first.
    """
    return sorted(
        (event for event in events if happened_at(event) < as_of),
        key=lambda event: (happened_at(event), uuid.UUID(event["event_id"])),
    )


def happened_at(event: Event) -> datetime:
    """Return the event's moment in UTC."""
    return instant(event["timestamp"])


def day_of(chat: Row) -> date:
    """Return the UTC day of the chat."""
    return chat["created_at"].date()


def since(start: datetime, chats: Iterable[Row]) -> list[Row]:
    """Return the chats of a window whose end has already been cut at `as_of`."""
    return [chat for chat in chats if chat["created_at"] >= start]


def known(chats: Iterable[Row], column: str) -> set[str]:
    """Return the distinct ids in this column that are known."""
    return {chat[column] for chat in chats if chat[column] is not None}


def grouped(chats: Iterable[Row], key_of: Callable[[Row], Key]) -> dict[Key, list[Row]]:
    """Return the chats by their key, each group in the order given."""
    groups: dict[Key, list[Row]] = {}
    for chat in chats:
        groups.setdefault(key_of(chat), []).append(chat)
    return groups


def _conversations(chats: Iterable[Row]) -> int:
    """How many conversations: the id belongs to its client."""
    return len(
        {
            (chat["client_id"], chat["conversation_id"])
            for chat in chats
            if chat["conversation_id"] is not None
        }
    )


def _properties(event: Event) -> dict[str, Any]:
    """The properties that are there: one that is null counts as absent."""
    given = event.get("properties") or {}
    return {name: value for name, value in given.items() if value is not None}


def _values(chats: Iterable[Row], column: str) -> list[Fraction]:
    return [Fraction(chat[column]) for chat in chats if chat[column] is not None]


def _sum(chats: Iterable[Row], column: str) -> Decimal:
    return as_decimal(sum(_values(chats, column), Fraction(0)))


def _share(chats: list[Row], flag: str) -> Decimal | None:
    return pct2(sum(chat[flag] for chat in chats), len(chats))


def exact(number: float | Decimal | str) -> Fraction:
    """Return the number as it is written: 0.1 is a tenth, not the float next to it."""
    return Fraction(str(number))


def as_decimal(number: Fraction) -> Decimal:
    """Return a decimal fraction as a Decimal, all of its digits kept."""
    places = 0
    while 10**places % number.denominator:
        places += 1
    # From text, because a Decimal's arithmetic rounds.
    return Decimal(f"{int(number * 10**places)}e-{places}")


def _decimal_or_none(number: Fraction | None) -> Decimal | None:
    return None if number is None else as_decimal(number)


def _whole_or_none(number: Fraction | None) -> int | None:
    return None if number is None else int(number)


def rounded(number: Fraction | None, places: int) -> Decimal | None:
    """Return the number rounded half away from zero; None stays None."""
    if number is None:
        return None
    size = floor(abs(number) * 10**places + Fraction(1, 2))
    return Decimal(f"{'-' if number < 0 else ''}{size}e-{places}")


def rounded_whole(number: Fraction | None) -> int | None:
    """Return the nearest whole number, halves away from zero; None stays None."""
    return None if number is None else int(rounded(number, 0))


def pct2(part: Fraction | int, whole: Fraction | int) -> Decimal | None:
    """Return `round(100 * part / whole, 2)`; None when the whole is 0."""
    return None if whole == 0 else rounded(100 * Fraction(part) / Fraction(whole), 2)


def mean(values: list[Fraction]) -> Fraction | None:
    """Return the exact mean; None of nothing."""
    return sum(values, Fraction(0)) / len(values) if values else None


def percentile(values: list[Fraction], share: Fraction) -> Fraction | None:
    """Return the continuous percentile, as `percentile_cont` defines it; None of nothing.

    The values in order stand at 0, 1, 2 and so on; between two of them it goes in a straight
    line.
    """
    if not values:
        return None
    ordered = sorted(values)
    position = share * (len(ordered) - 1)
    below = floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])
