"""Whatever is killed, and whenever: what was answered 202 lands once, and nothing else does."""

from __future__ import annotations

import random
import shutil
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import requests

from tests.conftest import DEEP, settings_of
from tests.support.collecting import RunningCollector, collector, make_key, now, until_landed
from tests.support.lines import rows, value
from tests.support.webhook import free_port
from warehouse import database, embedded
from warehouse.schema.migrate import migrate
from warehouse.settings import settings

SENDERS = 6


@pytest.fixture
def connection() -> Iterator[psycopg.Connection]:
    """A warehouse on an embedded server of its own, which may be killed."""
    home = Path(tempfile.mkdtemp(prefix="wh-"))
    with settings_of(home, 18, None):
        try:
            migrate()
            with database.connect(autocommit=True) as one:
                yield one
        finally:
            embedded.stop()
            shutil.rmtree(home, ignore_errors=True)


@dataclass
class Senders:
    """Clients that send events, one or many at once, until each is answered 202."""

    url: str
    key: str
    sent: set[str] = field(default_factory=set)
    answered: set[str] = field(default_factory=set)
    stopping: threading.Event = field(default_factory=threading.Event)
    statuses: Counter[int] = field(default_factory=Counter)

    def run(self, seed: int) -> None:
        """Send until stopped. What is not answered by then stays unanswered."""
        rng = random.Random(seed)
        session = requests.Session()
        while not self.stopping.is_set():
            events = [self._event() for _ in range(rng.choice((1, 1, 1, 5, 50)))]
            ids = {event["event_id"] for event in events}
            self.sent |= ids
            while not self.stopping.is_set():
                with suppress(requests.RequestException):
                    answer = session.post(
                        f"{self.url}/api/events",
                        json=events,
                        headers={"Authorization": f"Bearer {self.key}"},
                        timeout=20,
                    )
                    self.statuses[answer.status_code] += 1
                    if answer.status_code == 202:
                        assert answer.json()["accepted"] == len(events)
                        self.answered |= ids
                        break
                # Sent again, as it may not have been taken.
                time.sleep(rng.random() / 20)

    def _event(self) -> dict[str, Any]:
        return {
            "event_id": str(uuid.uuid4()),
            "event": "signup",
            "timestamp": now(),
            "actor": {"user_id": "u"},
        }


@contextmanager
def sending(senders: Senders) -> Iterator[None]:
    threads = [threading.Thread(target=senders.run, args=(seed,)) for seed in range(SENDERS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        senders.stopping.set()
        for thread in threads:
            thread.join()


class Killer:
    """Kills one of the collector's processes, or the database, as no handler can notice."""

    def __init__(self, running: RunningCollector, rng: random.Random) -> None:
        self.running = running
        self._rng = rng
        self.kills: Counter[str] = Counter()

    def kill(self) -> None:
        what = self._rng.choices(("worker", "lander", "collector", "database"), (5, 5, 2, 1))[0]
        with suppress(psutil.Error, IndexError):
            if what == "collector":
                self.running.process.kill()
                self.running.process.wait()
            elif what == "database":
                self._postmaster().kill()
            else:
                self._rng.choice(self.running.children(what)).kill()
            self.kills[what] += 1

    def _postmaster(self) -> psutil.Process:
        pid = (settings().cluster / "postmaster.pid").read_text().split()[0]
        return psutil.Process(int(pid))


@pytest.mark.timeout(1_500)
@pytest.mark.parametrize("kills", [8, DEEP(80)])
def test_what_was_answered_lands_once_whatever_is_killed(
    connection: psycopg.Connection, kills: int
) -> None:
    rng = random.Random(kills)
    port = free_port()
    key = make_key(connection, "server", client="acme", per_minute=2_000_000_000)
    senders = Senders(f"http://127.0.0.1:{port}", key)
    done: Counter[str] = Counter()
    connection.close()
    with sending(senders):
        while done.total() < kills:
            with collector(workers=2, segment_seconds=0.2, port=port) as running:
                killer = Killer(running, rng)
                while running.process.poll() is None and (done + killer.kills).total() < kills:
                    time.sleep(rng.random() * 0.8)
                    killer.kill()
                done += killer.kills
    with collector(port=port), database.connect(autocommit=True) as again:
        until_landed()
        assert_everything_landed_once(again, senders)
    assert set(done) >= {"worker", "lander"}
    assert len(senders.answered) > kills
    assert senders.statuses[202] > 0


def assert_everything_landed_once(connection: psycopg.Connection, senders: Senders) -> None:
    found = Counter(
        event_id
        for (event_id,) in rows(
            connection,
            "select event_id::text from staging.raw_events where event <> 'system_metric'",
        )
    )
    assert senders.answered <= set(found) <= senders.sent
    assert set(found.values()) == {1}
    # The ledger has each line once, and each of its batches the events that it says.
    assert (
        rows(
            connection,
            "select b.batch_seq from staging.event_batches as b where b.accepted <> "
            "(select count(*) from staging.raw_events as r where r.batch_id = b.batch_id)",
        )
        == []
    )
    assert value(connection, "select sum(rejected) from staging.event_batches") == 0
    assert (
        rows(
            connection,
            "select state, source from staging.loads where state in ('running', 'failed')",
        )
        == []
    )
    assert (
        value(connection, "select count(*) from staging.event_batches")
        == value(connection, "select count(distinct load_id) from staging.event_batches")
        == value(connection, "select count(*) from staging.loads where state = 'finished'")
    )
