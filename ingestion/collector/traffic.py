"""The collector's own traffic: system metrics each minute, not an event each request."""

from __future__ import annotations

import math
from collections import Counter

from ingestion.collector.segments import Waiting

# Steps of the durations that are counted, each 9 % longer than the one before; from 0.01 ms.
STEPS_PER_DOUBLING = 8
SHORTEST_MS = 0.01


class Traffic:
    """Counts requests, errors and durations of one worker since the last report."""

    def __init__(self) -> None:
        self._requests = self._errors = 0
        self._durations: Counter[int] = Counter()

    def count(self, status: int, seconds: float) -> None:
        """Count one answered request; errors are those that the collector is to blame for."""
        self._requests += 1
        self._errors += status >= 500
        step = math.log2(max(seconds * 1_000 / SHORTEST_MS, 1)) * STEPS_PER_DOUBLING
        self._durations[math.ceil(step)] += 1

    def report(self, waiting: Waiting) -> dict[str, float]:
        """Return what was counted and what waits as metrics, and begin to count anew.

        Without requests and without anything that waits, there is nothing to report.
        """
        if not self._requests and not waiting.segments:
            return {}
        metrics = {
            "collector_requests": float(self._requests),
            "collector_errors": float(self._errors),
            "collector_lag_seconds": waiting.oldest_seconds,
            "collector_waiting_bytes": float(waiting.bytes),
        }
        if self._requests:
            metrics["collector_p95_ms"] = self._percentile(0.95)
        self._requests = self._errors = 0
        self._durations.clear()
        return metrics

    def _percentile(self, share: float) -> float:
        """Return the duration in ms that this share of requests does not exceed, within 9 %."""
        wanted = math.ceil(share * self._requests)
        for step in sorted(self._durations):
            wanted -= self._durations[step]
            if wanted <= 0:
                return round(SHORTEST_MS * 2 ** (step / STEPS_PER_DOUBLING), 3)
        return 0.0
