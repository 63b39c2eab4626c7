"""API requests, including bursts of errors, and server metrics."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

from ingestion.sample.events import Event, Json, present
from ingestion.sample.timeline import STORY_END, chance, seconds, weighted
from ingestion.sample.traffic import people_by_client
from ingestion.sample.world import PLATFORM_ID, World, client_moments

API_CALLS_PER_DAY = 2.6
ENDPOINTS = {
    ("/v1/chat", "POST"): (0.4, 6.6),
    ("/v1/leads", "GET"): (0.25, 4.2),
    ("/v1/leads", "POST"): (0.15, 4.6),
    ("/v1/documents/{id}", "GET"): (0.15, 3.9),
    ("/v1/exports", "POST"): (0.05, 7.8),
}
"""(endpoint, method): (share of calls, mean of the log of milliseconds)."""

FAILURES = {500: "internal error", 503: "upstream unavailable", 429: "too many requests"}
MISUSES = {400: "bad request", 401: "not signed in", 404: None}
FIVE_MINUTES = timedelta(minutes=5)


@dataclass(frozen=True)
class Burst:
    """Consecutive 5-minute windows with this many calls and failures each."""

    start: datetime
    windows: int
    calls: int
    failures: int


BURSTS = (
    Burst(datetime(2026, 1, 22, 14, 5, tzinfo=UTC), 1, 40, 4),  # medium
    Burst(datetime(2026, 2, 17, 9, 30, tzinfo=UTC), 2, 45, 16),  # high, one alert
    Burst(datetime(2026, 3, 12, 16, 0, tzinfo=UTC), 3, 50, 35),  # critical
    Burst(datetime(2026, 3, 24, 11, 20, tzinfo=UTC), 1, 60, 1),  # many calls, few errors: no alert
    Burst(datetime(2026, 4, 8, 3, 40, tzinfo=UTC), 1, 15, 15),  # too few calls: no alert
    Burst(datetime(2026, 5, 14, 21, 10, tzinfo=UTC), 1, 50, 13),  # high
    Burst(datetime(2026, 5, 15, 23, 50, tzinfo=UTC), 2, 36, 9),  # still open at the demo's as_of
)

MONITORING_SINCE = datetime(2026, 4, 14, tzinfo=UTC)
MONITORING_OUTAGE = (
    datetime(2026, 4, 27, 2, 30, tzinfo=UTC),
    datetime(2026, 4, 27, 3, 15, tzinfo=UTC),
)
SERVERS = ("app-1", "app-2")


def api_requests(world: World, rng: Random) -> Iterator[Event]:
    """Yield calls with a normal error rate, and the bursts above."""
    people = people_by_client(world)
    for client, at in client_moments(world.clients, rng, API_CALLS_PER_DAY):
        status = 200 if chance(rng, 0.979) else rng.choice(tuple(FAILURES | MISUSES))
        members = people.get(client.client_id, [])
        caller = rng.choice(members) if members and chance(rng, 0.3) else None
        known = caller is not None and caller.created_at <= at < caller.quits_at
        actor = caller.actor if caller and known else {"client_id": client.client_id}
        yield _api_request(rng, at, actor, status)
    for burst in BURSTS:
        for window in range(burst.windows):
            yield from _burst_window(rng, burst, burst.start + window * FIVE_MINUTES)


def _burst_window(rng: Random, burst: Burst, start: datetime) -> Iterator[Event]:
    for call in range(burst.calls):
        at = start + call * FIVE_MINUTES / burst.calls
        at = at.replace(microsecond=at.microsecond // 1000 * 1000)
        status = rng.choice((500, 503)) if call < burst.failures else 200
        yield _api_request(rng, at, {"client_id": PLATFORM_ID}, status)


def _api_request(rng: Random, at: datetime, actor: Json, status: int) -> Event:
    endpoint, method = weighted(rng, {call: share for call, (share, _) in ENDPOINTS.items()})
    took = round(rng.lognormvariate(ENDPOINTS[endpoint, method][1], 0.6))
    properties = present(
        endpoint=endpoint,
        method=method,
        response_time_ms=took,
        status_code=status,
        error_message=(FAILURES | MISUSES).get(status),
    )
    return Event(at, "api_request", actor, properties, {"source": "api", "producer": "api-gateway"})


def system_metrics(world: World, rng: Random) -> Iterator[Event]:
    """Yield metrics every five minutes, servers alternating, except during one outage."""
    at, tick = MONITORING_SINCE, 0
    while at < STORY_END:
        if not MONITORING_OUTAGE[0] <= at < MONITORING_OUTAGE[1]:
            day_part = math.sin((at.hour - 9) / 24 * math.tau)
            cpu = min(100.0, max(1.0, rng.gauss(38 + 22 * day_part, 6)))
            memory = min(100.0, rng.gauss(61 + 5 * day_part, 2))
            reading_at = at + seconds(rng.uniform(1, 20))
            for metric, value in (("cpu_usage", cpu), ("memory_usage", memory)):
                yield _reading(world, reading_at, SERVERS[tick % 2], metric, round(value, 1))
        at += FIVE_MINUTES
        tick += 1


def _reading(world: World, at: datetime, server: str, metric: str, value: float) -> Event:
    properties = {"metric_type": metric, "metric_value": value, "server_id": server}
    context = {"source": "runtime", "producer": f"monitor-{server}"}
    return Event(at, "system_metric", {"client_id": world.platform.client_id}, properties, context)
