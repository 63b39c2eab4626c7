"""Pulls: how fast beside COPY … TO STDOUT piped into `warehouse load`, and in how much memory."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median

import psycopg

from orchestration.cli.output import step
from tests.bench.figures import Figure, at_least, at_most, for_information
from tests.bench.place import Place, peak_bytes
from tests.conftest import WAREHOUSE
from tests.support.lines import empty, value
from tests.support.sources import source_of
from warehouse import embedded

ROUNDS = 3
# In MB, of the pull and one worker together.
LARGEST_PEAK = 300
# A message every 40 seconds, of 200 clients and 20,000 leads.
TABLE = """
create table messages as
select
    n as id,
    'client-' || n % 200 as client_id,
    'lead-' || n % 20000 as lead_id,
    'thread-' || n % 20000 as conversation_id,
    (array['inbound', 'outbound'])[n % 2 + 1] as direction,
    timestamptz '2024-01-01' + n * interval '40 s' as sent_at
from generate_series(1, {rows}) as n
"""
COLUMNS = """
    'message' as event,
    sent_at as "timestamp",
    jsonb_build_object('client_id', client_id, 'lead_id', lead_id) as actor,
    jsonb_build_object('source', 'crm') as context,
    jsonb_build_object(
        'direction', direction, 'sender_type', 'lead', 'conversation_id', conversation_id
    ) as properties
"""
STREAM = f"""
    select id as key, {COLUMNS} from messages where sent_at >= :since and sent_at < :until
"""  # noqa: S608
PIPED = f"""
    copy (
        select row_to_json(e)
        from (select md5('messages ' || id)::uuid as event_id, {COLUMNS} from messages) as e
    ) to stdout
"""  # noqa: S608


def pulling(place: Place, rows: int, few: int, many: int) -> Iterator[Figure]:
    """Compare a pull of all rows with the pipe, turn by turn; measure a pull of few and many."""
    pulled: list[float] = []
    piped: list[float] = []
    with _table(place, rows) as (url, warehouse):
        # The first round warms up: caches, the first partitions.
        for turn in range(ROUNDS + 1):
            step(f"Pulling {rows:,} rows against COPY piped into a load, {turn} of {ROUNDS}")
            piped.append(_seconds(warehouse, rows, lambda: _pipe(url)))
            pulled.append(_seconds(warehouse, rows, lambda: _run("pull", "shop", "--full")))
    yield at_least(
        "pull / COPY piped into a load, throughput",
        median(b / p for b, p in zip(piped[1:], pulled[1:], strict=True)),
        0.5,
    )
    yield for_information("rows pulled, 1/s", rows / median(pulled[1:]), "{:,.0f}")
    peaks = []
    for count in (few, many):
        with _table(place, count) as (_, warehouse):
            step(f"Pulling {count:,} rows in a process of its own")
            peaks.append(peak_bytes("pull", "shop"))
            _require(warehouse, count)
        yield at_most(
            f"peak memory, pull of {count:,} rows, MB", peaks[-1] / 1e6, LARGEST_PEAK, "{:.0f}"
        )
    yield at_most(f"peak memory, {many:,} / {few:,} rows pulled", peaks[1] / peaks[0], 1.15)


@contextmanager
def _table(place: Place, rows: int) -> Iterator[tuple[str, psycopg.Connection]]:
    """Give the URL of a source with a table of so many rows, and a fresh warehouse."""
    url = place.server.new_database("template0")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(TABLE.format(rows=rows))
        connection.execute("vacuum analyze messages")
    with (
        place.fresh_warehouse() as warehouse,
        source_of(place.files / "sources", url, {"messages": STREAM}),
    ):
        yield url, warehouse
    place.server.drop_database(url)


def _seconds(warehouse: psycopg.Connection, rows: int, work: Callable[[], None]) -> float:
    empty(warehouse)
    warehouse.execute("checkpoint")
    started = time.perf_counter()
    work()
    seconds = time.perf_counter() - started
    _require(warehouse, rows)
    return seconds


def _require(warehouse: psycopg.Connection, rows: int) -> None:
    landed = value(warehouse, "select coalesce(sum(accepted), 0) from staging.event_batches")
    if landed != rows:
        raise RuntimeError(f"{rows:,} rows should have landed: {landed:,}")


def _pipe(url: str) -> None:
    psql = [embedded.program("psql"), "--no-psqlrc", "--quiet", "--command", PIPED, url]
    with subprocess.Popen(psql, stdout=subprocess.PIPE) as copy:
        _run("load", "-", stdin=copy.stdout)
    if copy.returncode:
        raise RuntimeError("psql failed")


def _run(*arguments: str, stdin: object = None) -> None:
    subprocess.run([*WAREHOUSE, *arguments], check=True, capture_output=True, stdin=stdin)  # type: ignore[call-overload]
