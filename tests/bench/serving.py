"""The HTTP API: delay against the database's own, 304 answers, CSV of many rows."""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles

import psutil
import psycopg
import pytest
import requests

from orchestration.cli.output import step
from tests.bench.clients import LEAD_EVENTS
from tests.bench.figures import Figure, at_least, at_most, for_information
from tests.bench.place import Place, run
from tests.conftest import WAREHOUSE, settings_of
from tests.support.processes import until
from tests.support.webhook import free_port
from warehouse import session
from warehouse.settings import settings

CONNECTIONS = 16
# Pages and queries in turns, of which the median ratio counts.
ROUNDS = 5
UNCOUNTED = 10
# A month of one client.
PATH = "/v1/marts/analytics_daily?client_id=client-1&from=2026-01-01&to=2026-01-31"
ROWS = 30
QUERY = """
    select * from marts.analytics_daily
    where client_id = %s and date >= '2026-01-01' and date < '2026-01-31'
    order by client_id, date
"""
EVENTS = 3_000
LOGIN = "bench_api"
MEGABYTE = 1 << 20


def serving(place: Place, requests_: int, csv_rows: int) -> Iterator[Figure]:
    """Measure pages and 304 answers at 16 connections, then CSV against COPY."""
    step("Serving marts over HTTP")
    url = place.server.new_database()
    with (
        tempfile.TemporaryDirectory(prefix="wh-") as home,
        settings_of(Path(home), 18, url),
        psycopg.connect(url, autocommit=True) as owner,
    ):
        _build(place, owner, csv_rows)
        with _api(url) as (port, process):
            key = run("keys", "create", "--kind", "read", "--role", "warehouse_analyst",
                      "--per-minute", 2_000_000_000)[1]["key"]  # fmt: skip
            head = f"Host: x\r\nAuthorization: Bearer {key}\r\n"
            page = f"GET {PATH} HTTP/1.1\r\n{head}\r\n".encode()
            answer = _until_known(port, key)
            tag = f"If-None-Match: {answer.headers['etag']}\r\n"
            unchanged = f"GET {PATH} HTTP/1.1\r\n{head}{tag}\r\n".encode()
            _flood(port, page, 200, requests_ // 4)
            ratios, pages = [], []
            for _ in range(ROUNDS):
                direct = _p95(asyncio.run(_direct(url, requests_ // ROUNDS)))
                pages.append(_p95(_flood(port, page, 200, requests_ // ROUNDS)[1]))
                ratios.append(pages[-1] / direct)
            per_second, _ = _flood(port, unchanged, 304, 4 * requests_)
            copying = _copy_seconds(url)
            csv = _csv(port, key, process, csv_rows)
        yield at_most(f"p95 of a page of {ROWS} rows / the query itself", median(ratios), 4)
        # Fifty milliseconds are a goal for a quiet machine alone.
        yield for_information("p95 of such a page, ms", 1_000 * median(pages), "{:.1f}")
        yield at_least("304 answers, 1/s", per_second, 2_000, "{:,.0f}")
        yield at_least(f"CSV of {csv_rows:,} rows, rate / COPY's", copying / csv.seconds, 0.5)
        yield at_most("memory that CSV adds to the API, MB", csv.megabytes, 100, "{:.0f}")
    place.server.drop_database(url)


def _build(place: Place, owner: psycopg.Connection, csv_rows: int) -> None:
    events = place.files / "leads.ndjson"
    LEAD_EVENTS.write(events, EVENTS, None, 1)
    run("load", events)
    events.unlink()
    run("build", "--select", "+analytics_daily +stats_hourly mart_status")
    # Rows like one that was built, and rows of zeros.
    owner.execute(
        "insert into marts.analytics_daily "
        "select made.* "
        "from (select to_jsonb(a) as row from marts.analytics_daily as a limit 1) as a "
        "cross join generate_series('2026-01-01'::date, '2026-01-30', '1 day') as d "
        "cross join jsonb_populate_record(null::marts.analytics_daily, a.row "
        "|| jsonb_build_object('client_id', 'client-1', 'date', d::date)) as made "
        "on conflict do nothing"
    )
    owner.execute(
        "insert into marts.stats_hourly "
        "select made.* from (select jsonb_object_agg(attname, 0) as row from pg_attribute "
        "where attrelid = 'marts.stats_hourly'::regclass and attnum > 0) as zeros "
        "cross join generate_series(0, %s - 1) as n "
        "cross join jsonb_populate_record(null::marts.stats_hourly, zeros.row "
        "|| jsonb_build_object('client_id', 'client-' || n %% 100, 'updated_at', now(), "
        "'hour', '2020-01-01Z'::timestamptz + make_interval(hours => n / 100))) as made",
        (csv_rows,),
    )
    owner.execute("analyze marts.stats_hourly; analyze marts.analytics_daily")
    owner.execute(f"create role {LOGIN} login in role warehouse_api")


@contextmanager
def _api(url: str) -> Iterator[tuple[int, psutil.Process]]:
    """Give the port and process of an API."""
    port = free_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WAREHOUSE_API_DATABASE_URL", url.replace("postgres@", f"{LOGIN}@"))
        settings.cache_clear()
        with subprocess.Popen(
            [*WAREHOUSE, "api", "--port", str(port)], stderr=subprocess.DEVNULL
        ) as running:
            try:
                yield port, psutil.Process(running.pid)
            finally:
                running.terminate()
    settings.cache_clear()
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(f"drop owned by {LOGIN}")
        owner.execute(f"drop role {LOGIN}")


def _until_known(port: int, key: str) -> requests.Response:
    found: list[requests.Response] = []

    def answers() -> bool:
        try:
            answer = requests.get(
                f"http://127.0.0.1:{port}{PATH}",
                headers={"Authorization": f"Bearer {key}"},
                timeout=60,
            )
        except requests.ConnectionError:
            return False
        found[:] = [answer]
        return answer.status_code == 200

    until(answers, 120, "the API answers")
    if len(found[0].json()["data"]) != ROWS:
        raise RuntimeError(f"not {ROWS} rows: {found[0].text[:500]}")
    return found[0]


class _Client(asyncio.Protocol):
    """A connection that sends the next request as soon as the last one is answered."""

    def __init__(self, request: bytes, status: int, count: int, done: asyncio.Future[None]) -> None:
        self._request, self._status, self._left = request, b"HTTP/1.1 %d" % status, count
        self._done = done
        self._answer = b""
        self.delays: list[float] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._next()

    def _next(self) -> None:
        if self._left == 0:
            self._transport.close()
            self._done.set_result(None)
            return
        self._left -= 1
        self._sent = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, end, body = self._answer.partition(b"\r\n\r\n")
        if not end:
            return
        _, has_length, rest = head.partition(b"content-length: ")
        if has_length and len(body) < int(rest.partition(b"\r\n")[0]):
            return
        if not head.startswith(self._status):
            self._done.set_exception(RuntimeError(self._answer.decode()))
            return
        self.delays.append(time.perf_counter() - self._sent)
        self._answer = b""
        self._next()


def _flood(port: int, request: bytes, status: int, count: int) -> tuple[float, list[float]]:
    """Return how many requests a second were answered, and the delay of each in seconds."""
    import uvloop

    async def flood() -> list[float]:
        loop = asyncio.get_running_loop()
        clients = []
        for _ in range(CONNECTIONS):
            client = _Client(request, status, count // CONNECTIONS, loop.create_future())
            await loop.create_connection(lambda client=client: client, "127.0.0.1", port)
            clients.append(client)
        await asyncio.gather(*(client._done for client in clients))
        return [delay for client in clients for delay in client.delays]

    started = time.perf_counter()
    delays = uvloop.run(flood())
    return len(delays) / (time.perf_counter() - started), delays


async def _direct(url: str, count: int) -> list[float]:
    """Return the delay of each of so many queries by psycopg, at as many connections."""

    async def ask() -> list[float]:
        delays = []
        async with await psycopg.AsyncConnection.connect(
            url, autocommit=True, **session.parameters(url)
        ) as connection:
            await connection.execute("set role warehouse_analyst")
            # At first the server plans the query and reads its catalogue, as for the API before.
            for number in range(UNCOUNTED + count // CONNECTIONS):
                started = time.perf_counter()
                found = await connection.execute(QUERY, ("client-1",))
                if len(await found.fetchall()) != ROWS:
                    raise RuntimeError(f"not {ROWS} rows")
                if number >= UNCOUNTED:
                    delays.append(time.perf_counter() - started)
        return delays

    asking = [ask() for _ in range(CONNECTIONS)]
    return [delay for delays in await asyncio.gather(*asking) for delay in delays]


def _p95(delays: list[float]) -> float:
    return quantiles(delays, n=20)[-1]


def _copy_seconds(url: str) -> float:
    with psycopg.connect(url) as connection:
        started = time.perf_counter()
        with connection.cursor().copy(
            "copy (select * from marts.stats_hourly order by client_id, hour) "
            "to stdout with (format csv, header)"
        ) as copy:
            for _ in copy:
                pass
        return time.perf_counter() - started


class _Csv:
    """How long a download took, and by how much the API's memory grew at most."""

    def __init__(self, seconds: float, megabytes: float) -> None:
        self.seconds = seconds
        self.megabytes = megabytes


def _csv(port: int, key: str, process: psutil.Process, rows: int) -> _Csv:
    before = peak = process.memory_info().rss
    started = time.perf_counter()
    last = b""
    with requests.get(
        f"http://127.0.0.1:{port}/v1/marts/stats_hourly?format=csv",
        headers={"Authorization": f"Bearer {key}"},
        stream=True,
        timeout=600,
    ) as answer:
        for number, piece in enumerate(answer.iter_content(MEGABYTE)):
            last = (last + piece)[-100:]
            if number % 10 == 0:
                peak = max(peak, process.memory_info().rss)
    seconds = time.perf_counter() - started
    if not last.endswith(f"# rows: {rows}\n".encode()):
        raise RuntimeError(f"the download was interrupted: {last!r}")
    return _Csv(seconds, (peak - before) / MEGABYTE)
