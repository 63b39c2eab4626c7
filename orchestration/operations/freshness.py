"""The age of marts and of the marketing row, and the limit of each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import psycopg

from orchestration.operations.export import target_name

# Schedules rebuild these several times within the limit, so that one failed run raises no alarm.
ROW_LIMIT = timedelta(minutes=30)
FOLDER_LIMITS = dict.fromkeys(("traffic", "operations"), timedelta(hours=3))
# All other marts are built once a day; a run may take two hours.
MART_LIMIT = timedelta(hours=26)

AGES = """
    select s.mart, make_interval(secs => s.freshness_seconds) from marts.mart_status as s
    where s.freshness_seconds is not null
"""

# Only rows at the current target count: earlier exports may have gone elsewhere.
ROW_AGE = """
    select now() - e.updated_at from warehouse.exports as e
    where e.target = %s and e.state = 'done'
    order by e.export_id desc
    limit 1
"""


@dataclass(frozen=True, slots=True)
class Freshness:
    """An age and its limit; ``age`` is None where nothing was ever built."""

    age: timedelta | None
    limit: timedelta

    @property
    def is_fresh(self) -> bool:
        """Whether the age is within the limit."""
        return self.age is not None and self.age <= self.limit


def mart_limit(folder: str) -> timedelta:
    """Return the largest age that the marts of a folder may have."""
    return FOLDER_LIMITS.get(folder, MART_LIMIT)


def mart_ages(connection: psycopg.Connection) -> dict[str, timedelta]:
    """Return the age of each mart that was built. Raises psycopg.Error before the first build."""
    return dict(connection.execute(AGES).fetchall())


def row_age(connection: psycopg.Connection) -> timedelta | None:
    """Return the age of the row at the current target, None where there is none."""
    row = connection.execute(ROW_AGE, (target_name(),)).fetchone()
    return row[0] if row else None
