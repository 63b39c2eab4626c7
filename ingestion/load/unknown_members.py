"""Counts the unknown members of a batch's events, keeps them in the ledger and reads them again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import psycopg

from ingestion.contract.unknown_members import UnknownNames, nearest_known

# Per batch the most frequent members are counted by name, all others as OTHER: a producer that
# writes data into names (an id, say) can't fill the ledger.
MEMBERS_BY_NAME = 100
# In characters. Longer names are no misspellings.
LONGEST_NAME = 100
OTHER = ("other", "")


@dataclass(frozen=True, slots=True)
class UnknownMember:
    """How many accepted events of one name had a member that the plan does not know.

    ``member`` is its path such as ``properties.token_prompt``, or ``other`` for all that are not
    counted by name. ``nearest_known`` is the path that may be meant.
    """

    event: str
    member: str
    events: int
    nearest_known: str | None


# Event, path of the object, name of the member.
Named = tuple[str, str, str]


def count_by_member(found: Iterable[UnknownNames]) -> Counter[Named]:
    """Return how many events have each unknown member, given those of every event that has any."""
    by_event = Counter(found)
    counts: Counter[Named] = Counter()
    for (event, members), events in by_event.items():
        for path, name in members:
            if len(name) <= LONGEST_NAME:
                counts[event, path, name] += events
    # Of equally frequent ones the first by name, so that equal batches have equal rows.
    kept = Counter(
        dict(sorted(counts.items(), key=lambda one: (-one[1], one[0]))[:MEMBERS_BY_NAME])
    )
    for (event, members), events in by_event.items():
        if any((event, *member) not in kept for member in members):
            kept[event, *OTHER] += events
    return kept


def rows_of(counts: Counter[Named]) -> list[tuple[str, str, str, int, str | None]]:
    """Return counts as rows of staging.unknown_members, without their batch."""
    return [
        (event, path, name, events, None if (path, name) == OTHER else nearest_known(*member))
        for member, events in counts.items()
        for event, path, name in [member]
    ]


def unknown_members(counts: Counter[Named]) -> list[UnknownMember]:
    """Return counts for people, the most frequent members first."""
    return [
        UnknownMember(event, path if (path, name) == OTHER else f"{path}.{name}", events, nearest)
        for event, path, name, events, nearest in sorted(
            rows_of(counts), key=lambda row: (-row[3], row[:3])
        )
    ]


def unknown_members_of(connection: psycopg.Connection, load_id: int) -> list[UnknownMember]:
    """Return the unknown members of all of a load's committed batches, the most frequent first."""
    found = connection.execute(
        "select event, path, name, sum(events)::bigint from staging.unknown_members "
        "where batch_seq in (select batch_seq from staging.event_batches where load_id = %s) "
        "group by event, path, name",
        (load_id,),
    ).fetchall()
    return unknown_members(Counter({(event, path, name): n for event, path, name, n in found}))
