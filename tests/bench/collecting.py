"""The collector: requests and events a second, delay, landing, memory."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

import psutil
import psycopg

from orchestration.cli.output import step
from tests.bench.figures import Figure, at_least, at_most, for_information
from tests.bench.place import Place
from tests.conftest import settings_of
from tests.support.collecting import collector, landed, make_key, signup
from tests.support.lines import value
from tests.support.processes import until
from tests.support.webhook import free_port

CONNECTIONS = 64
BATCH = 100
ROUNDS = 9
MEGABYTE = 1 << 20
# The same server and settings as the collector's, with a route that does nothing.
_BARE = """\
import sys
import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

async def taken(request):
    return Response(status_code=202)

app = Starlette(routes=[Route("/api/events", taken, methods=["POST"])])
uvicorn.run(app, port=int(sys.argv[1]), log_level="error", access_log=False, ws="none")
"""


@dataclass(frozen=True, slots=True)
class Answered:
    """What a flood of requests got: how many were answered 202, and how fast."""

    requests: int
    seconds: float
    p95_ms: float

    @property
    def per_second(self) -> float:
        """Requests answered in a second."""
        return self.requests / self.seconds


class _Client(asyncio.Protocol):
    """A connection that sends the next request as soon as the last one is answered."""

    def __init__(self, requests: Iterator[bytes], done: asyncio.Future[None]) -> None:
        self._requests = requests
        self._done = done
        self.delays: list[float] = []
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._next()

    def _next(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self._transport.close()
            if not self._done.done():
                self._done.set_result(None)
            return
        self._sent = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, end, body = self._answer.partition(b"\r\n\r\n")
        if not end:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        if len(body) < length:
            return
        if not head.startswith(b"HTTP/1.1 202"):
            self._done.set_exception(RuntimeError(self._answer.decode()))
            return
        self.delays.append(time.perf_counter() - self._sent)
        self._answer = b""
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(RuntimeError(f"the connection was closed: {exc}"))


async def _flood(port: int, requests: list[bytes]) -> Answered:
    loop = asyncio.get_running_loop()
    shared = iter(requests)
    clients, ends = [], []
    started = time.perf_counter()
    for _ in range(CONNECTIONS):
        done = loop.create_future()
        client = _Client(shared, done)
        await loop.create_connection(lambda client=client: client, "127.0.0.1", port)
        clients.append(client)
        ends.append(done)
    await asyncio.gather(*ends)
    seconds = time.perf_counter() - started
    delays = [delay for client in clients for delay in client.delays]
    return Answered(len(delays), seconds, 1_000 * quantiles(delays, n=20)[-1])


def flood(port: int, requests: list[bytes]) -> Answered:
    """Send requests over 64 connections, each as soon as its last one is answered."""
    import uvloop

    return uvloop.run(_flood(port, requests))


def request(key: str, events: object) -> bytes:
    """Return a request as bytes."""
    body = json.dumps(events).encode()
    return (
        b"POST /api/events HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\n"
        b"Authorization: Bearer %b\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (key.encode(), len(body), body)
    )


@contextmanager
def _bare() -> Iterator[int]:
    port = free_port()
    with subprocess.Popen([sys.executable, "-c", _BARE, str(port)]) as running:
        try:
            until(lambda: _listens(port))
            yield port
        finally:
            running.terminate()


def _listens(port: int) -> bool:
    return any(
        one.laddr.port == port for one in psutil.net_connections("tcp") if one.status == "LISTEN"
    )


def collecting(place: Place, requests: int, batches: int) -> Iterator[Figure]:
    """Measure single events against a bare route, then batches, then that all has landed."""
    step("Collecting events over HTTP")
    url = place.server.new_database()
    with (
        tempfile.TemporaryDirectory(prefix="wh-") as home,
        settings_of(Path(home), 18, url),
        psycopg.connect(url, autocommit=True) as connection,
    ):
        key = make_key(connection, "server", client="bench", per_minute=2_000_000_000)
        with _bare() as port, collector(segment_seconds=3) as running:
            singles = [request(key, signup(number)) for number in range(requests)]
            many = [
                request(key, [signup(requests + number * BATCH + at) for at in range(BATCH)])
                for number in range(batches)
            ]
            # In turns, because the machine's speed changes; the first turn warms up.
            turns = [
                (flood(port, part), flood(running.port, part))
                for at in range(0, requests, requests // (ROUNDS + 1))
                if (part := singles[at : at + requests // (ROUNDS + 1)])
            ][1:]
            (worker,) = running.children("worker")
            batched = flood(running.port, many)
            ended = time.monotonic()
            expected = requests + batches * BATCH
            until(lambda: landed(connection) == expected, 120, "everything has landed")
            seconds = time.monotonic() - ended
            megabytes = worker.memory_info().rss / MEGABYTE
            running.stop()
        yield at_least(
            "single events over HTTP / a bare route's requests",
            median(single.per_second / bare.per_second for bare, single in turns),
            0.4,
        )
        for what, rates in (
            ("single events over HTTP, 1/s", [single.per_second for _, single in turns]),
            ("a bare route, 1/s", [bare.per_second for bare, _ in turns]),
        ):
            yield for_information(what, median(rates), "{:,.0f}")
        yield at_most(
            "p95 beyond the bare route's, ms",
            median(single.p95_ms - bare.p95_ms for bare, single in turns),
            25,
            "{:.1f}",
        )
        yield at_least(
            "events/s over HTTP in batches of 100", batched.per_second * BATCH, 20_000, "{:,.0f}"
        )
        yield at_most("until all of it has landed, s", seconds, 30, "{:.1f}")
        yield at_most("memory of a worker, MB", megabytes, 200, "{:.0f}")
        if value(connection, "select sum(accepted) from staging.event_batches") < expected:
            raise RuntimeError("not everything has landed once")
    place.server.drop_database(url)
