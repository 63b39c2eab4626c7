"""The command line: how soon it answers."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from statistics import median

from orchestration.cli.output import step
from tests.bench.figures import Figure, at_most
from tests.conftest import WAREHOUSE

ROUNDS = 7


def help_page() -> Iterator[Figure]:
    """Time the command that does nothing but start."""
    step("Asking for help")
    seconds = []
    # The first round warms up: what Python compiles, what the disk holds.
    for _ in range(ROUNDS + 1):
        started = time.perf_counter()
        subprocess.run([*WAREHOUSE, "--help"], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - started)
    yield at_most("`warehouse --help`, s", median(seconds[1:]), 0.3)
