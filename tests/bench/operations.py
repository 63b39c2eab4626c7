"""API calls to measure the marts of operations with: an hour's new ones on one day and on ten."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from statistics import median
from uuid import UUID

import psycopg

from orchestration.cli.output import step
from tests.bench.events import FIRST_INSTANT
from tests.bench.figures import Figure, at_most, for_information
from tests.bench.increments import build_seconds
from tests.bench.place import Place, run

DAYS = 10
HOURS = 3
ENDPOINTS = ("/v1/chat", "/v1/leads", "/v1/search", "/v1/documents", "/v1/health")


def api_calls(place: Place, calls_a_day: int) -> Iterator[Figure]:
    """Compare builds of an hour's calls after one day of them and after ten."""
    short, _ = _hour(place, 1, calls_a_day)
    long, hours = _hour(place, DAYS, calls_a_day)
    day = f"{calls_a_day:,} API calls a day"
    yield for_information(f"build of an hour's calls after {DAYS} days of {day}, s", long, "{:.1f}")
    yield at_most(f"an hour's calls after {DAYS} days / after one, of {day}", long / short, 1.3)
    yield at_most("hours of api_performance_hourly that they touch", hours, 1)


def _hour(place: Place, days: int, calls_a_day: int) -> tuple[float, int]:
    """Return the seconds of a build of an hour's calls, and how many hours' rows it rewrote."""
    with place.fresh_warehouse() as connection:
        for day in range(days):
            step(f"Loading day {day + 1} of {days} of API calls")
            start = FIRST_INSTANT + timedelta(days=day)
            _load(place, calls_a_day, start, timedelta(days=1))
        build_seconds()
        connection.execute("vacuum analyze")
        start = FIRST_INSTANT + timedelta(days=days)
        times, touched = [], []
        for hour in range(HOURS):
            step(f"Building an hour's calls after {days} days, {hour + 1} of {HOURS}")
            _load(place, calls_a_day // 24, start + timedelta(hours=hour), timedelta(hours=1))
            before = _now(connection)
            times.append(build_seconds())
            touched.append(_hours_since(connection, before))
    return median(times), max(touched)


def _now(connection: psycopg.Connection) -> datetime:
    return connection.execute("select clock_timestamp()").fetchone()[0]


def _hours_since(connection: psycopg.Connection, instant: datetime) -> int:
    return connection.execute(
        "select count(distinct hour) from marts.api_performance_hourly where updated_at >= %s",
        (instant,),
    ).fetchone()[0]


def _load(place: Place, count: int, start: datetime, length: timedelta) -> None:
    file = place.files / "calls.ndjson"
    _write_calls(file, count, start, length)
    run("load", file)
    file.unlink()


def _write_calls(path: Path, count: int, start: datetime, length: timedelta) -> None:
    rng = Random(f"calls:{start}")
    with path.open("w") as file:
        for number in range(count):
            event = {
                "event_id": str(UUID(int=rng.getrandbits(128), version=4)),
                "event": "api_request",
                "timestamp": (start + length * number / count).isoformat(),
                "actor": {"client_id": f"client-{rng.randrange(200)}"},
                "properties": {
                    "endpoint": rng.choice(ENDPOINTS),
                    "method": rng.choice(("GET", "POST")),
                    "status_code": rng.choices((200, 404, 500), weights=(96, 3, 1))[0],
                    "response_time_ms": rng.randrange(5, 900),
                },
            }
            file.write(json.dumps(event, separators=(",", ":")) + "\n")
