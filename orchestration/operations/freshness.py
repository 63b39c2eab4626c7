"""How old marts and the marketing row are, against how old they may become."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import psycopg

from orchestration.operations.export import target_name

# Each is renewed several times before it counts as old, so that one failed run is no alarm.
ROW_LIMIT = timedelta(minutes=30)
FOLDER_LIMITS = {"traffic": timedelta(hours=3)}
# Once a day, at 02:15: one missed, and the time that a run takes.
MART_LIMIT = timedelta(hours=26)

AGES = """
    select s.mart, make_interval(secs => s.freshness_seconds) from marts.mart_status as s
    where s.freshness_seconds is not null
"""

# That of the row which the site reads now; others may have been written elsewhere before.
ROW_AGE = """
    select now() - e.updated_at from warehouse.exports as e
    where e.target = %s and e.state = 'done'
    order by e.export_id desc
    limit 1
"""


@dataclass(frozen=True, slots=True)
class Freshness:
    """How old something is and may become; ``age`` is None where it was never built."""

    age: timedelta | None
    limit: timedelta

    @property
    def is_fresh(self) -> bool:
        """Whether it is no older than it may be."""
        return self.age is not None and self.age <= self.limit


def mart_limit(folder: str) -> timedelta:
    """Return how old the marts of a folder may become."""
    return FOLDER_LIMITS.get(folder, MART_LIMIT)


def mart_ages(connection: psycopg.Connection) -> dict[str, timedelta]:
    """Return how old each mart is that was built. Raises psycopg.Error before the first build."""
    return dict(connection.execute(AGES).fetchall())


def row_age(connection: psycopg.Connection) -> timedelta | None:
    """Return how old the row is where it goes now, None where there is none."""
    row = connection.execute(ROW_AGE, (target_name(),)).fetchone()
    return row[0] if row else None
