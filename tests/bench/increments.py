"""Builds of all marts: a full rebuild, and increments on little and on much history."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

from orchestration.cli.output import step
from tests.bench.events import FIRST_INSTANT
from tests.bench.figures import Figure, at_most, for_information
from tests.bench.place import Place, run

Json = dict[str, Any]

DAYS = 120
NEW_EVENTS = 1_000
LATE_DAYS = 90
BATCHES = 3
# Noon of the day that late events are of.
EARLY = FIRST_INSTANT + timedelta(days=DAYS - LATE_DAYS, hours=12)
# Past every event, so that all builds of a run look from the same day.
AS_OF = FIRST_INSTANT + timedelta(days=DAYS + 1)


@dataclass(frozen=True, slots=True)
class Stream:
    """Events of one family; ``write(path, count, day, seed)`` spreads them where day is None."""

    of: str
    write: Callable[[Path, int, int | None, int], None]
    # Events that the late ones refer to, at EARLY, and by kind a late event.
    early: Sequence[Json]
    late: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Times:
    """Wall times of `warehouse build` in seconds."""

    first: float
    increment: float
    late: dict[str, float]


def increments(
    place: Place, stream: Stream, rebuilt: int, little: int, much: int
) -> Iterator[Figure]:
    """Rebuild all marts on one history; compare increments on two others."""
    seconds = _full_refresh(place, stream, rebuilt)
    yield for_information(f"full rebuild of {rebuilt:,} {stream.of}, s", seconds, "{:.0f}")
    short, long = _times(place, stream, little), _times(place, stream, much)
    yield for_information(f"first build of {much:,} {stream.of}, s", long.first, "{:.0f}")
    yield for_information(
        f"build of {NEW_EVENTS:,} new {stream.of} on {little:,}, s", short.increment
    )
    yield at_most(
        f"{NEW_EVENTS:,} new {stream.of} on {much:,} / on {little:,}",
        long.increment / short.increment,
        1.3,
    )
    for kind, seconds in long.late.items():
        yield at_most(
            f"{kind} {LATE_DAYS} days late / {NEW_EVENTS:,} new {stream.of}, on {much:,}",
            seconds / long.increment,
            1.5,
        )


def _full_refresh(place: Place, stream: Stream, history: int) -> float:
    with place.fresh_warehouse():
        _load(place, stream, history, f"rebuilding {history:,} {stream.of}")
        build_seconds()
        return build_seconds("--full-refresh")


def _times(place: Place, stream: Stream, history: int) -> Times:
    with place.fresh_warehouse() as connection:
        _load(place, stream, history, f"{history:,} {stream.of} of history")
        _load_events(place, stream.early)
        first = build_seconds()
        # As the server would by itself in a while, and not in the middle of what is measured.
        connection.execute("vacuum analyze")
        times = []
        for batch in range(BATCHES):
            _load(place, stream, NEW_EVENTS, f"new {stream.of} on {history:,}", DAYS, batch)
            times.append(build_seconds())
        late = {}
        for kind, event in stream.late.items():
            step(f"Building {kind} {LATE_DAYS} days late on {history:,} {stream.of}")
            _load_events(place, [event])
            late[kind] = build_seconds()
    return Times(first, median(times), late)


def build_seconds(*options: str) -> float:
    """Build; return the wall time in seconds."""
    seconds, _ = run("build", "--as-of", AS_OF.isoformat(), *options)
    return seconds


def _load(
    place: Place, stream: Stream, count: int, what: str, day: int | None = None, seed: int = -1
) -> None:
    step(f"Loading {what}")
    file = place.files / "stream.ndjson"
    stream.write(file, count, day, seed)
    run("load", file)
    file.unlink()


def _load_events(place: Place, events: Iterable[Json]) -> None:
    file = place.files / "events.ndjson"
    file.write_text("".join(json.dumps(event) + "\n" for event in events))
    if (counts := run("load", file)[1]["total"])["rejected"]:
        raise RuntimeError(f"these should not be rejected: {events}, {counts}")
    file.unlink()


def event_at(minutes: float, name: str, actor: Json, properties: Json, **others: Json) -> Json:
    """Return an event so many minutes after EARLY."""
    at = EARLY + timedelta(minutes=minutes)
    return {
        "event_id": str(uuid4()), "event": name, "timestamp": at.isoformat(), "actor": actor,
        "properties": properties, **others,
    }  # fmt: skip
