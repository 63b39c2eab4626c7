"""Times of the sample: its days, business hours, random moments."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from random import Random
from typing import Any

SAMPLE_DAYS = 135
# In the middle of a month, so that figures of a running month have something to show.
SAMPLE_AS_OF = datetime(2026, 5, 16, tzinfo=UTC)
# The demo builds as of here first. What the last file has of the months before changes them.
SAMPLE_MONTH = datetime(2026, 5, 1, tzinfo=UTC)
SAMPLE_START = SAMPLE_AS_OF - timedelta(days=SAMPLE_DAYS)

DAY = timedelta(days=1)
NEVER = datetime(9999, 1, 1, tzinfo=UTC)

STORY_END = SAMPLE_AS_OF + DAY
"""Stories begin before this: those of the last day give the few events after `SAMPLE_AS_OF`."""

LAST_SPILL = SAMPLE_AS_OF + timedelta(days=15)
"""Later events are dropped, so that the sample ends within May 2026."""

# Activity by hour (UTC) on a business day in North America.
HOUR_WEIGHTS = tuple(
    accumulate((3, 2, 1, 1, 1, 1, 1, 1, 1, 1, 2, 3, 6, 10, 13, 14, 13, 12, 12, 13, 12, 10, 7, 5))
)
WEEKDAY_LEVELS = (1.15, 1.2, 1.15, 1.1, 1.0, 0.5, 0.4)


def poisson(rng: Random, mean: float) -> int:
    """Return a Poisson count (Knuth's algorithm; means here are below 100)."""
    limit, product, count = math.exp(-mean), rng.random(), 0
    while product > limit:
        product *= rng.random()
        count += 1
    return count


def moment(rng: Random, day: datetime) -> datetime:
    """Return an instant of the day in whole milliseconds, most likely in business hours."""
    hour = rng.choices(range(24), cum_weights=HOUR_WEIGHTS)[0]
    return day + timedelta(hours=hour, milliseconds=rng.randrange(3_600_000))


def later(rng: Random, at: datetime, mean_hours: float) -> datetime:
    """Return an exponentially distributed instant at least one second after ``at``."""
    seconds = 1 + rng.expovariate(1 / (mean_hours * 3600))
    return at + timedelta(milliseconds=round(seconds * 1000))


def seconds(value: float) -> timedelta:
    """Return a duration in seconds, at least one millisecond."""
    return timedelta(milliseconds=max(1, round(value * 1000)))


def chance(rng: Random, probability: float) -> bool:
    """Return True with this probability."""
    return rng.random() < probability


def weighted(rng: Random, table: dict[Any, float]) -> Any:
    """Return a random key of the table, by weight."""
    return rng.choices(tuple(table), weights=tuple(table.values()))[0]


def days() -> Iterator[datetime]:
    """Return the days of the sample."""
    return (SAMPLE_START + n * DAY for n in range((STORY_END - SAMPLE_START).days))
