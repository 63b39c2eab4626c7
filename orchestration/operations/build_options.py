"""What a build can be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What to build; by default all unread input.

    ``start`` and ``end`` are a half-open window of days, and ``end`` is the day after the last.
    ``allow_lost_events`` lets typed facts be rebuilt although some raw events have expired.
    """

    full_refresh: bool = False
    start: date | None = None
    end: date | None = None
    select: str | None = None
    as_of: datetime | None = None
    allow_lost_events: bool = False
