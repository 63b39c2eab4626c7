"""What the marketing row and its day parts are, computed plainly as the spec describes it.

Written to be checked against the spec by reading; it imports nothing from the project. Events are
dicts as they came (`event`, `event_id`, `timestamp`, `actor`), accepted ones alone; how they came
to be loaded does not matter, and the same event twice is one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

Event = dict[str, Any]

ACTIVE_WINDOW = timedelta(hours=30 * 24)


@dataclass(frozen=True)
class MarketingRow:
    """The one row; `updated_at` is the instant that it looks from."""

    active_users: int
    questions_answered: int
    pdf_downloads: int
    engagement_rate: Decimal | None
    updated_at: datetime


@dataclass(frozen=True)
class DayParts:
    """What one UTC day adds to the all-time counts."""

    activity_on: date
    chats: int
    pdf_downloads: int


def marketing_row(events: Iterable[Event], units: Collection[str], as_of: datetime) -> MarketingRow:
    """Return the row at `as_of`; `units` are the ids in the entity."""
    seen = visible(events, as_of)
    active = set()
    for event in seen:
        unit = event["actor"].get("unit_id")
        if event["event"] == "session" and unit and instant(event) >= as_of - ACTIVE_WINDOW:
            active.add(unit)
    return MarketingRow(
        active_users=len(active),
        questions_answered=sum(event["event"] == "chat" for event in seen),
        pdf_downloads=sum(event["event"] == "pdf_download" for event in seen),
        engagement_rate=rate(len(active), len(set(units))),
        updated_at=as_of,
    )


def day_parts(events: Iterable[Event], as_of: datetime) -> list[DayParts]:
    """Return the parts of every UTC day that has any, in order."""
    seen = visible(events, as_of)
    parts = []
    for day in sorted({day_of(event) for event in seen}):
        names = [event["event"] for event in seen if day_of(event) == day]
        chats, downloads = names.count("chat"), names.count("pdf_download")
        if chats or downloads:
            parts.append(DayParts(day, chats, downloads))
    return parts


def visible(events: Iterable[Event], as_of: datetime) -> list[Event]:
    """Return the events before `as_of`, each once: client, id and instant make it itself."""
    once = {}
    for event in events:
        key = (event["actor"]["client_id"], event["event_id"], instant(event))
        once.setdefault(key, event)
    return [event for event in once.values() if instant(event) < as_of]


def rate(active: int, units: int) -> Decimal | None:
    """Return active / units to 4 decimals, half away from zero; none without units."""
    if units == 0:
        return None
    # In whole numbers, so that no half is lost before it is rounded.
    ten_thousandths, rest = divmod(active * 10_000, units)
    if 2 * rest >= units:
        ten_thousandths += 1
    return Decimal(ten_thousandths) / 10_000


def instant(event: Event) -> datetime:
    """Return when the event happened."""
    return datetime.fromisoformat(event["timestamp"])


def day_of(event: Event) -> date:
    """Return the UTC day of the event."""
    return instant(event).astimezone(UTC).date()
