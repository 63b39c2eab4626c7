"""How old what was pulled is: when each stream of a source was read last, and up to what time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import psycopg

# Pulled every ten minutes: two pulls may fail, or one take long.
PULL_LIMIT = timedelta(minutes=30)

_AGES = """
    select
        stream,
        clock_timestamp() - pulled_at,
        greatest(clock_timestamp() - complete_until, interval '0')
    from staging.source_cursors
    where source = %s
"""


@dataclass(frozen=True, slots=True)
class StreamAge:
    """How long ago a stream was pulled, and how old the first row is that may not be here yet.

    ``age`` is None where it was never pulled, ``lag`` where no time is certain.
    """

    age: timedelta | None = None
    lag: timedelta | None = None

    @property
    def is_fresh(self) -> bool:
        """Whether the stream was pulled lately."""
        return self.age is not None and self.age <= PULL_LIMIT

    @property
    def described(self) -> str:
        """One sentence on it."""
        if self.age is None:
            return "It was never pulled."
        lag = "nobody knows since when" if self.lag is None else f"the last {_whole(self.lag)}"
        return (
            f"It was pulled {_whole(self.age)} ago (limit {PULL_LIMIT}); rows of {lag} may be "
            "missing."
        )


def stream_ages(connection: psycopg.Connection, source: str) -> dict[str, StreamAge]:
    """Return the ages of the streams of a source that were pulled."""
    found = connection.execute(_AGES, (source,)).fetchall()
    return {stream: StreamAge(age, lag) for stream, age, lag in found}


def _whole(span: timedelta) -> timedelta:
    return timedelta(seconds=round(span.total_seconds()))
