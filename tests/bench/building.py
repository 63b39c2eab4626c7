"""Builds: with nothing new, and after a few new events on little and on much history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from orchestration.cli.output import step
from tests.bench.events import write_events
from tests.bench.figures import Figure, at_most, for_information
from tests.bench.place import Place, run
from warehouse.settings import settings

NEW_EVENTS = 1_000
BATCHES = 3
IDLE_BUILDS = 5


@dataclass(frozen=True, slots=True)
class BuildTimes:
    """Wall times of `warehouse build` in seconds."""

    first: float
    after_a_batch: float
    nothing_new: float


def builds(place: Place, little: int, much: int) -> Iterator[Figure]:
    """Compare builds of one new batch on little and on much history, and builds of none."""
    short, long = _build_times(place, little), _build_times(place, much)
    yield at_most("build with nothing new, dbt not started, s", long.nothing_new, 1.0)
    yield for_information(
        f"build of {NEW_EVENTS:,} new events on {much:,}, s", long.after_a_batch, "{:.1f}"
    )
    yield for_information("nothing new / one new batch", long.nothing_new / long.after_a_batch)
    yield for_information(f"first build of {much:,} events, s", long.first, "{:.1f}")
    yield for_information(
        f"build of {NEW_EVENTS:,} new events on {much:,} / on {little:,}",
        long.after_a_batch / short.after_a_batch,
    )


def _build_times(place: Place, history: int) -> BuildTimes:
    with place.fresh_warehouse():
        step(f"Building {history:,} events")
        _load(place, history, after=0)
        first = _build(starts_dbt=True)
        with_unread_input = []
        for batch in range(BATCHES):
            step(f"Building {NEW_EVENTS:,} new events on {history:,}, {batch + 1} of {BATCHES}")
            _load(place, NEW_EVENTS, after=history + batch * NEW_EVENTS)
            with_unread_input.append(_build(starts_dbt=True))
        step(f"Building nothing new on {history:,} events")
        idle = [_build(starts_dbt=False) for _ in range(IDLE_BUILDS)]
    return BuildTimes(first, median(with_unread_input), median(idle))


def _load(place: Place, lines: int, after: int) -> None:
    file = write_events(place.files / f"events-{after}.ndjson", lines, after)
    run("load", file)
    file.unlink()


def _build(*, starts_dbt: bool) -> float:
    """Build; return the wall time, having made sure whether dbt ran."""
    written_before = _bytes_logged_by_dbt()
    seconds, answer = run("build")
    has_logged = _bytes_logged_by_dbt() != written_before
    if not starts_dbt == answer["ran_dbt"] == has_logged:
        raise RuntimeError(f"dbt should {'' if starts_dbt else 'not '}run: {answer}")
    return seconds


def _bytes_logged_by_dbt() -> int:
    """Return the size of dbt's logs: dbt can't start without a word in them."""
    return sum(file.stat().st_size for file in (settings().dbt_target / "logs").glob("*"))
