"""Builds of all marts: a full rebuild, and increments on little and on much history."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from statistics import median

from orchestration.cli.output import step
from tests.bench.events import FIRST_INSTANT
from tests.bench.figures import Figure, at_most, for_information
from tests.bench.place import Place, run

DAYS = 120
NEW_EVENTS = 1_000
LATE_DAYS = 90
BATCHES = 3
# Past every event, so that all builds of a run look from the same day.
AS_OF = FIRST_INSTANT + timedelta(days=DAYS + 1)


@dataclass(frozen=True, slots=True)
class Stream:
    """Events of one family; ``write(path, count, day, seed)`` spreads them where day is None."""

    of: str
    write: Callable[[Path, int, int | None, int], None]


@dataclass(frozen=True, slots=True)
class Times:
    """Wall times of `warehouse build` in seconds."""

    first: float
    of_another_kind: float
    increment: float
    late: float


def increments(
    place: Place, stream: Stream, rebuilt: int, little: int, much: int
) -> Iterator[Figure]:
    """Rebuild all marts on one history; compare increments on two others."""
    seconds = _full_refresh(place, stream, rebuilt)
    yield for_information(f"full rebuild of {rebuilt:,} {stream.of}, s", seconds, "{:.0f}")
    short, long = _times(place, stream, little), _times(place, stream, much)
    yield for_information(f"first build of {much:,} {stream.of}, s", long.first, "{:.0f}")
    yield for_information(
        f"build after one event that no mart of {stream.of} reads (dbt's own time), s",
        long.of_another_kind,
        "{:.1f}",
    )
    yield for_information(
        f"build of {NEW_EVENTS:,} new {stream.of} on {little:,}, s", short.increment, "{:.1f}"
    )
    yield at_most(
        f"{NEW_EVENTS:,} new {stream.of} on {much:,} / on {little:,}",
        long.increment / short.increment,
        1.3,
    )
    yield at_most(
        f"one of {stream.of} {LATE_DAYS} days late / {NEW_EVENTS:,} new ones, on {much:,}",
        long.late / long.increment,
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
        first = build_seconds()
        # As the server would by itself in a while, and not in the middle of what is measured.
        connection.execute("vacuum analyze")
        times = []
        for batch in range(BATCHES):
            _load(place, stream, NEW_EVENTS, f"new {stream.of} on {history:,}", DAYS, batch)
            times.append(build_seconds())
        _load(place, stream, 1, f"late {stream.of}", DAYS - LATE_DAYS, BATCHES)
        late = build_seconds()
        other = place.files / "metric.ndjson"
        other.write_text(
            '{"event":"system_metric","timestamp":"2026-01-01T00:00:00Z","actor":'
            '{"client_id":"_platform"},"properties":'
            '{"metric_type":"cpu_usage","metric_value":1,"server_id":"s"}}\n'
        )
        run("load", other)
        of_another_kind = build_seconds()
    return Times(first, of_another_kind, median(times), late)


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
