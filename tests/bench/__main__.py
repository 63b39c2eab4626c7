"""Measures what the warehouse promises of speed and size; exits with 1 where a goal is missed."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

from orchestration.cli.output import Table, print_table
from tests.bench.ai_usage import CHATS
from tests.bench.building import builds, scheduled_run
from tests.bench.clients import LEAD_EVENTS
from tests.bench.collecting import collecting
from tests.bench.crowds import crowds
from tests.bench.dashboard import dashboard
from tests.bench.figures import Figure
from tests.bench.increments import increments
from tests.bench.loading import memory_and_disk, throughput, validating
from tests.bench.mixed import MIX
from tests.bench.operations import api_calls
from tests.bench.place import Place, own_place
from tests.bench.pulling import pulling
from tests.bench.serving import serving
from tests.bench.starting import help_page


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many events are measured with."""

    throughput: int = 600_000
    memory: tuple[int, int] = (200_000, 1_000_000)
    history: tuple[int, int] = (20_000, 500_000)
    scheduled: int = 100_000
    marts: tuple[int, int, int] = (1_000_000, 200_000, 2_000_000)
    calls_a_day: int = 50_000
    crowds: tuple[int, float] = (50_000, 1)
    pulled: tuple[int, int, int] = (400_000, 200_000, 2_000_000)
    collected: tuple[int, int] = (50_000, 4_000)
    serving: tuple[int, int] = (4_000, 1_000_000)


QUICK = Sizes(
    throughput=60_000,
    memory=(50_000, 100_000),
    history=(2_000, 10_000),
    scheduled=2_000,
    marts=(5_000, 5_000, 20_000),
    calls_a_day=1_000,
    crowds=(2_000, 0.02),
    pulled=(10_000, 10_000, 20_000),
    collected=(2_000, 100),
    serving=(320, 10_000),
)


def main() -> int:
    """Run all benchmarks and print their figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="small sizes: shows that it runs, measures little"
    )
    sizes = QUICK if parser.parse_args().quick else Sizes()
    with own_place() as place:
        figures = list(_measure(place, sizes))
    print_table(
        Table(
            ("what", "measured", "goal", ""),
            [(figure.what, figure.measured, figure.goal, figure.outcome) for figure in figures],
        )
    )
    return int(any(figure.met is False for figure in figures))


def _measure(place: Place, sizes: Sizes) -> Iterator[Figure]:
    yield from help_page()
    yield from throughput(place, sizes.throughput)
    yield from validating(place, sizes.throughput)
    yield from memory_and_disk(place, *sizes.memory)
    yield from pulling(place, *sizes.pulled)
    yield from collecting(place, *sizes.collected)
    yield from builds(place, *sizes.history)
    yield from scheduled_run(place, sizes.scheduled)
    for stream in (CHATS, LEAD_EVENTS, MIX):
        yield from increments(place, stream, *sizes.marts)
    yield from api_calls(place, sizes.calls_a_day)
    yield from crowds(place, *sizes.crowds)
    yield from serving(place, *sizes.serving)
    yield from dashboard()


if __name__ == "__main__":
    raise SystemExit(main())
