"""Builds of mixed events: the first, one with nothing new, a few new events, and all once more."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from statistics import median

from orchestration.cli.output import step
from orchestration.definitions.instance import dagster_environment
from tests.bench.events import EVENTS_A_DAY, FIRST_INSTANT, write_events
from tests.bench.figures import Figure, at_most, for_information
from tests.bench.place import Place, run
from warehouse.settings import PROJECT_DIR

NEW_EVENTS = 1_000
BATCHES = 3
REPEATS = 5


@dataclass(frozen=True, slots=True)
class BuildTimes:
    """Wall times of `warehouse build` in seconds; ``client`` is its own processor time."""

    first: float
    after_a_batch: float
    client: float
    nothing_new: float
    full_refresh: float


def builds(place: Place, little: int, much: int) -> Iterator[Figure]:
    """Compare builds of one new batch on little and on much history, of none and of everything."""
    short, long = _build_times(place, little), _build_times(place, much)
    imports = median(_cpu_seconds(sys.executable, "-c", "import dbt.cli.main") for _ in range(3))
    new = f"build of {NEW_EVENTS:,} new events on {much:,}"
    yield at_most("build with nothing new, s", long.nothing_new, 1.0)
    yield for_information(f"{new}, s", long.after_a_batch)
    yield at_most(f"{new} / with nothing new", long.after_a_batch / long.nothing_new, 3.0)
    yield at_most(
        f"CPU of the client for it / of importing dbt ({imports:.1f} s)", long.client / imports, 0.5
    )
    yield for_information(f"{new} / on {little:,}", long.after_a_batch / short.after_a_batch)
    yield for_information(f"first build of {much:,} events, s", long.first, "{:.1f}")
    yield for_information(f"full refresh of {much:,} events, s", long.full_refresh, "{:.1f}")
    yield at_most("full refresh / first build", long.full_refresh / long.first, 1.1)


def scheduled_run(place: Place, history: int) -> Iterator[Figure]:
    """Measure a scheduled run with news, from the start of its process to its end."""
    with place.fresh_warehouse():
        step(f"Building {history:,} events for a scheduled run")
        _load(place, history, after=0)
        run("build", "--as-of", _as_of(history))
        _load(place, NEW_EVENTS, after=history)
        command = [
            sys.executable, "-m", "dagster", "job", "execute",
            "-m", "orchestration.definitions.code_location", "-j", "marketing_row",
        ]  # fmt: skip
        seconds = []
        for batch in range(2):
            step("Running marketing_row")
            _load(place, NEW_EVENTS, after=history + (batch + 1) * NEW_EVENTS)
            seconds.append(_seconds(command))
    # The first run reads dbt's project, as it does once after an upgrade.
    yield at_most("scheduled marketing_row with news, whole run, s", seconds[-1], 10.0, "{:.1f}")


def _seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(
        command, check=True, capture_output=True, cwd=PROJECT_DIR, env=dagster_environment()
    )
    return time.perf_counter() - started


def _as_of(lines: int) -> str:
    """Return the instant of the last of so many events: what a build in time would look from."""
    return (FIRST_INSTANT + timedelta(days=lines / EVENTS_A_DAY)).isoformat()


def _build_times(place: Place, history: int) -> BuildTimes:
    with place.fresh_warehouse() as connection:
        step(f"Building {history:,} events")
        _load(place, history, after=0)
        first = _build(history, with_dbt=True)
        # As the server would by itself in a while, and not in the middle of what is measured.
        connection.execute("vacuum analyze")
        seconds, client = [], []
        lines = history
        for batch in range(BATCHES):
            step(f"Building {NEW_EVENTS:,} new events on {history:,}, {batch + 1} of {BATCHES}")
            _load(place, NEW_EVENTS, after=lines)
            lines += NEW_EVENTS
            used = _children_cpu()
            seconds.append(_build(lines, with_dbt=False))
            client.append(_children_cpu() - used)
        step(f"Building nothing new on {history:,} events")
        idle = [_build(lines, with_dbt=False) for _ in range(REPEATS)]
        step(f"Building all of {history:,} events again")
        again, _ = run("build", "--full-refresh", "--as-of", _as_of(lines))
    return BuildTimes(first, median(seconds), median(client), median(idle), again)


def _load(place: Place, lines: int, after: int) -> None:
    file = write_events(place.files / f"events-{after}.ndjson", lines, after)
    run("load", file)
    file.unlink()


def _build(lines: int, *, with_dbt: bool) -> float:
    """Build; return the wall time, having made sure whether dbt ran."""
    seconds, answer = run("build", "--as-of", _as_of(lines))
    if with_dbt != (answer["why_dbt"] is not None):
        raise RuntimeError(f"dbt should {'' if with_dbt else 'not '}run: {answer}")
    return seconds


def _cpu_seconds(*command: str) -> float:
    used = _children_cpu()
    subprocess.run(command, check=True)
    return _children_cpu() - used


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
