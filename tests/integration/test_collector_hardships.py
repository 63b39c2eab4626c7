"""The collector in hardship: no database, no room, slow clients, floods, other collectors."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests

from ingestion.collector import spool as spools
from ingestion.collector.segments import (
    CLOSED,
    OPEN,
    RecordKind,
    accepted_record,
    records,
    segment_file,
    segments,
    waiting,
)
from ingestion.collector.spool import Segment, Spool, SpoolError, SpoolFullError
from ingestion.privacy.suppression import Subject, SubjectKind
from orchestration.operations.erase import erase
from tests.conftest import DEEP, Server, settings_of
from tests.support.collecting import (
    NO_DATABASE,
    RunningCollector,
    collector,
    landed,
    make_key,
    make_keys,
    page_view,
    signup,
    until_landed,
)
from tests.support.lines import rows, value
from tests.support.processes import until
from warehouse.settings import settings

MEGABYTE = 1 << 20


@pytest.fixture
def warehouse(servers: Any, tmp_path: Path) -> Iterator[psycopg.Connection]:
    """A warehouse with a home of its own: spool and keys are this test's."""
    server: Server = servers(18)
    url = server.new_database()
    with settings_of(tmp_path / "home", 18, url), psycopg.connect(url, autocommit=True) as one:
        yield one
    server.drop_database(url)


@contextmanager
def without_database(**environment: str) -> Iterator[RunningCollector]:
    with collector(WAREHOUSE_DATABASE_URL=NO_DATABASE, **environment) as running:
        yield running


def spooled() -> bytes:
    return b"".join(path.read_bytes() for path in settings().spool_folder.iterdir())


def test_events_are_taken_without_a_database_and_land_as_of_when_they_came(
    warehouse: psycopg.Connection,
) -> None:
    keys = make_keys(warehouse)
    with without_database() as running:
        sent_at = datetime.now(UTC)
        for number in range(20):
            assert running.send(keys["server"], signup(number)).status_code == 202
        assert running.track(keys["browser"], [page_view()]).status_code == 202
        until(lambda: running.ready()["database"] == "away")
        assert running.ready()["status"] == "ready"
        assert running.stop() < 30
    assert waiting(settings().spool_folder).segments > 0
    time.sleep(1)
    with collector() as running:
        until(lambda: running.ready()["database"] == "up")
        until_landed()
    assert landed(warehouse) == 21
    for (received_at,) in rows(warehouse, "select received_at from staging.event_batches"):
        assert abs(received_at - sent_at) < timedelta(seconds=10)
    assert value(warehouse, "select count(*) from staging.visitor_salts") == 1


@pytest.mark.deep
def test_an_outage_of_the_database_is_recorded_when_it_is_over(
    warehouse: psycopg.Connection, servers: Any
) -> None:
    key = make_key(warehouse, "server", client="acme")
    url = psycopg.conninfo.conninfo_to_dict(os.environ["WAREHOUSE_DATABASE_URL"])
    name, server = url["dbname"], servers(18)
    with collector() as running:
        until(lambda: running.ready()["database"] == "up")
        warehouse.close()
        server.rename_database(name, f"{name}_away")
        assert running.send(key, signup(1)).status_code == 202
        until(lambda: running.ready()["database"] == "away")
        server.rename_database(f"{name}_away", name)
        until_landed()
        with psycopg.connect(os.environ["WAREHOUSE_DATABASE_URL"], autocommit=True) as again:
            assert landed(again) == 1
            ((state, error),) = rows(
                again, "select state, error from staging.loads where state <> 'finished'"
            )
    assert state == "abandoned"
    assert "Events waited in the spool" in error


def test_nothing_without_consent_reaches_the_disk(warehouse: psycopg.Connection) -> None:
    keys = make_keys(warehouse)
    with without_database() as running:

        def view(secret: str, **context: Any) -> dict[str, Any]:
            return page_view(
                f"/{secret}",
                actor={"anonymous_id": secret},
                context={"page": {"path": f"/{secret}"}} | context,
                properties={"x": secret},
            )

        opted_in = {"consent": {"analytics": True}}
        answer = running.track(
            keys["browser"],
            [
                view("refused-1"),
                view("refused-2", consent={"analytics": False}),
                view("refused-3", dnt=True, **opted_in),
                view("refused-4", source="api"),
                view("refused-5", producer="shop/1", sequence=7),
                view("refused-6") | {"properties": {"x": "refused-6" + "y" * 262_144}},
                view("refused-7") | {"event_id": "nonsense"},
                view("accepted-1", **opted_in),
            ],
        )
        assert answer.json() | {"errors": None} == {
            "received": 8, "accepted": 1, "suppressed": 6, "rejected": 1, "errors": None,
        }  # fmt: skip
        from_server = running.send(
            keys["server"], [view("refused-8", dnt="yes"), view("accepted-2", source="api")]
        )
        assert from_server.json()["suppressed"] == 1
        running.stop()
    content = spooled()
    assert b"refused" not in content
    assert b"accepted-1" in content
    assert b"accepted-2" in content
    with collector():
        until_landed()
    assert rows(
        warehouse, "select event, sum(suppressed) from staging.suppressed_events group by event"
    ) == [("page_view", 7)]
    assert rows(warehouse, "select producer, sequence from staging.used_sequences") == [
        ("shop/1", 7)
    ]
    assert value(warehouse, "select payload from staging.rejected_events") == b""


def test_a_full_spool_is_said_and_takes_events_again_when_they_have_landed(
    warehouse: psycopg.Connection,
) -> None:
    key = make_key(warehouse, "server", client="acme")
    limit = 300_000
    big = {"x": "x" * 10_000}
    accepted = 0
    with without_database(WAREHOUSE_SPOOL_LIMIT_BYTES=str(limit)) as running:
        for number in range(60):
            answer = running.send(key, signup(number, properties=big))
            assert waiting(settings().spool_folder).bytes <= limit
            accepted += answer.status_code == 202
        assert 20 < accepted < 30
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert answer.json()["detail"].startswith("Nothing was taken: the spool is full.")
        ready = requests.get(f"{running.url}/ready", timeout=5)
        assert (ready.status_code, ready.json()["status"]) == (503, "the spool is full")
        running.stop()
    with collector(WAREHOUSE_SPOOL_LIMIT_BYTES=str(limit)) as running:
        until_landed()
        until(lambda: running.send(key, signup(99, properties=big)).status_code == 202)
        until(lambda: running.ready()["status"] == "ready")
        until_landed()
    assert landed(warehouse) == accepted + 1


def test_a_spool_that_cannot_be_written_is_said(warehouse: psycopg.Connection) -> None:
    key = make_key(warehouse, "server", client="acme")
    folder = settings().spool_folder
    with without_database() as running:
        assert running.send(key, signup(1)).status_code == 202
        until(lambda: not segments(folder, OPEN))
        away = folder.with_name("away")
        folder.rename(away)
        answer = running.send(key, signup(2))
        assert answer.status_code == 503
        assert "the spool can't be written to" in answer.json()["detail"]
        ready = requests.get(f"{running.url}/ready", timeout=5)
        assert ready.status_code == 503
        assert "the spool can't be written to" in ready.json()["status"]
        away.rename(folder)
        assert running.send(key, signup(3)).status_code == 202
        until(lambda: running.ready()["status"] == "ready")
        running.stop()
    with collector():
        until_landed()
    assert landed(warehouse) == 2


def test_two_collectors_share_a_spool(warehouse: psycopg.Connection) -> None:
    key = make_key(warehouse, "server", client="acme")
    with ExitStack() as stack:
        both = [stack.enter_context(collector(workers=2)) for _ in range(2)]
        for number in range(60):
            assert both[number % 2].send(key, signup(number)).status_code == 202
        until_landed()
    assert landed(warehouse) == 60
    assert value(warehouse, "select sum(duplicates) from staging.event_batches") == 0
    assert rows(warehouse, "select from staging.loads where state <> 'finished'") == []


@pytest.mark.deep
def test_a_clock_that_was_set_back_loses_nothing(warehouse: psycopg.Connection) -> None:
    key = make_key(warehouse, "server", client="acme")
    folder = settings().spool_folder
    with without_database() as running:
        assert running.send(key, signup(1)).status_code == 202
        running.stop()
    # What was received while the clock was an hour ahead.
    # The collector's own traffic is in a later one.
    segment, *_ = segments(folder, CLOSED)
    ahead = segment.received_at + timedelta(hours=1)
    name = segment.path.name.partition("-")[2]
    for other in segments(folder, CLOSED)[1:]:
        other.path.unlink()
    segment.path.rename(folder / f"{ahead:%Y%m%dT%H%M%S.%fZ}-{name}")
    assert waiting(folder).oldest_seconds == 0
    with collector() as running:
        assert running.send(key, signup(2)).status_code == 202
        until_landed()
    assert landed(warehouse) == 2
    received = [at for (at,) in rows(warehouse, "select received_at from staging.event_batches")]
    assert ahead in received


def test_who_was_erased_meanwhile_is_suppressed_when_it_lands(
    warehouse: psycopg.Connection,
) -> None:
    key = make_key(warehouse, "server", client="acme")
    with without_database() as running:
        for user in ("erased-user", "other-user"):
            event = signup(len(user), actor={"user_id": user})
            assert running.send(key, [event, event | {"event": "x"}]).status_code == 202
        running.stop()
    erase(Subject(SubjectKind.USER, "erased-user"), "a test")
    with collector():
        until_landed()
    named = "select actor ->> 'user_id' from staging.raw_events where event = 'signup'"
    assert rows(warehouse, named) == [("other-user",)]
    assert value(warehouse, "select sum(suppressed_erased) from staging.event_batches") == 2
    assert value(warehouse, "select count(*) from staging.rejected_events") == 1


@pytest.mark.deep
def test_the_end_that_a_kill_tore_is_left_out(warehouse: psycopg.Connection) -> None:
    key = make_key(warehouse, "server", client="acme")
    folder = settings().spool_folder
    with without_database() as running:
        assert running.send(key, [signup(1), signup(2)]).status_code == 202
        running.stop()
    segment, *_ = segments(folder, CLOSED)
    content = segment.path.read_bytes()
    torn = segment.path.with_suffix(OPEN)
    segment.path.rename(torn)
    torn.write_bytes(content + content[:-3])
    with collector():
        until_landed()
    assert landed(warehouse) == 2
    # All came twice but the torn one, those of the collector's own traffic among them.
    again = len(list(records(content))) - 1
    assert value(warehouse, "select sum(duplicates) from staging.event_batches") == again


@pytest.mark.deep
def test_slow_and_idle_clients_keep_nobody_out(warehouse: psycopg.Connection) -> None:
    key = make_key(warehouse, "server", client="acme")
    with collector() as running:
        address = ("127.0.0.1", running.port)
        head = (
            f"POST /api/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
            "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
        ).encode()
        with ExitStack() as stack:
            idle = [stack.enter_context(socket.create_connection(address)) for _ in range(2_500)]
            slow = [stack.enter_context(socket.create_connection(address)) for _ in range(50)]
            slow_heads = [stack.enter_context(socket.create_connection(address)) for _ in range(50)]
            started = time.monotonic()
            while time.monotonic() - started < 33:
                for position, connection in enumerate([*slow, *slow_heads]):
                    sent = int(time.monotonic() - started) * 2
                    part = (head + b"[")[: len(head) + sent] if position < 50 else head[:sent]
                    with suppress(OSError):
                        connection.sendall(part if sent == 0 else b"x")
                assert running.send(key, signup(1)).status_code == 202
                time.sleep(1)
            answers = []
            for connection in (*slow[:5], *slow_heads[:5]):
                connection.settimeout(5)
                try:
                    answers.append(connection.recv(4_096).split(b" ")[1:2])
                except OSError:
                    answers.append([])
            assert [b"408"] in answers
            for connection in idle[:5]:
                connection.settimeout(5)
                assert connection.recv(1) == b""
        (worker,) = running.children("worker")
        assert worker.memory_info().rss < 200 * MEGABYTE


@pytest.mark.parametrize("requests_sent", [3_000, pytest.param(150_000, marks=pytest.mark.deep)])
def test_a_flood_is_answered_in_bounded_memory_and_a_bounded_spool(
    warehouse: psycopg.Connection, requests_sent: int
) -> None:
    from tests.bench.collecting import request

    limit = 4 * MEGABYTE
    key = make_key(warehouse, "server", client="acme", per_minute=2_000_000_000)
    with without_database(WAREHOUSE_SPOOL_LIMIT_BYTES=str(limit)) as running:
        single = request(key, signup(1))
        large = request(key, [signup(1, properties={"x": "x" * 2_000})] * 400)

        async def one(count: int, sent: bytes) -> set[bytes]:
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
            statuses = set()
            for _ in range(count):
                writer.write(sent)
                head = await reader.readuntil(b"\r\n\r\n")
                statuses.add(head.split(b" ")[1])
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                await reader.readexactly(length)
            writer.close()
            return statuses

        async def flood() -> set[bytes]:
            sent = [one(requests_sent // 60, single) for _ in range(60)]
            sent += [one(5, large) for _ in range(20)]
            return set().union(*await asyncio.gather(*sent))

        assert asyncio.run(flood()) == {b"202", b"503"}
        assert waiting(settings().spool_folder).bytes <= limit
        (worker,) = running.children("worker")
        assert worker.memory_info().rss < 200 * MEGABYTE
        assert running.session.get(f"{running.url}/health", timeout=5).ok
        assert running.stop() < 30
    shutil.rmtree(settings().spool_folder)


@pytest.mark.parametrize("number", [DEEP(signal.SIGINT), signal.SIGTERM])
def test_a_stopped_collector_is_gone_within_half_a_minute(
    warehouse: psycopg.Connection, number: int, interruptible: None
) -> None:
    key = make_key(warehouse, "server", client="acme")
    with collector(workers=2) as running:
        assert running.send(key, signup(1)).status_code == 202
        children = running.children()
        # A request that never arrives does not hold it up.
        with socket.create_connection(("127.0.0.1", running.port)) as slow:
            slow.sendall(b"POST /api/events HTTP/1.1\r\nContent-Length: 9\r\n\r\n[")
            assert running.stop(number) < 30
        assert running.process.returncode == 0
        assert not any(child.is_running() for child in children)
    assert waiting(settings().spool_folder).segments == 0
    assert landed(warehouse) == 1


def in_spool(folder: Path, limit: int, write: Any) -> None:
    """Run something with a spool of its own."""

    async def run() -> None:
        spool = Spool(folder, limit, 60)
        try:
            await write(spool)
        finally:
            await asyncio.to_thread(spool.close)

    asyncio.run(run())


def lines_of(folder: Path) -> list[bytes]:
    return [
        payload
        for segment in segments(folder, CLOSED)
        for kind, payload in records(segment.path.read_bytes())
        if kind is RecordKind.ACCEPTED
    ]


def test_what_a_full_disk_did_not_take_is_not_answered_as_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_write, really_sync = os.write, os.fdatasync
    room = [10_000]

    def write(file: int, content: Any) -> int:
        if room[0] <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = really_write(file, bytes(content)[: room[0]])
        room[0] -= written
        return written

    def sync(file: int) -> None:
        if room[0] < 0:
            raise OSError(errno.EIO, "Input/output error")
        really_sync(file)

    monkeypatch.setattr(spools.os, "write", write)
    monkeypatch.setattr(spools.os, "fdatasync", sync)
    kept: list[bytes] = []

    async def fill(spool: Spool) -> None:
        for number in range(30):
            line = b"%d %b" % (number, b"x" * 990)
            if number == 15:
                room[0] = 5_000
            if number == 20:
                room[0] = -1
            if number == 25:
                room[0] = 100_000
            with suppress(SpoolError):
                await spool.append(spool.segment("events"), accepted_record(line))
                kept.append(line)

    in_spool(tmp_path, 1 << 30, fill)
    assert 5 < len(kept) < 30
    assert lines_of(tmp_path) == kept


def test_what_does_not_fit_leaves_room_for_what_does(tmp_path: Path) -> None:
    async def fill(spool: Spool) -> None:
        segment: Segment = spool.segment("events")
        large = spool.append(segment, accepted_record(b"x" * 2_000))
        small = spool.append(segment, accepted_record(b"y" * 100))
        with pytest.raises(SpoolFullError):
            await large
        await small

    in_spool(tmp_path, 1_000, fill)
    assert lines_of(tmp_path) == [b"y" * 100]


def test_only_segments_are_taken_for_segments(tmp_path: Path) -> None:
    for name in (".20260101T000000.000000Z-0123456789abcdef.events", "x.closed", ".room", "a.open"):
        (tmp_path / name).touch()
    assert segments(tmp_path, CLOSED) == segments(tmp_path, OPEN) == []
    named = segment_file(tmp_path / "20260131T235959.123456Z-0123456789abcdef.users.open")
    assert named is not None
    assert (named.kind, named.received_at.isoformat()) == (
        "users",
        "2026-01-31T23:59:59.123456+00:00",
    )
