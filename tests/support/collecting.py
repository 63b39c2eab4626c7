"""A real collector for tests: its processes, its keys, and requests to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import psycopg
import requests

from ingestion.collector.segments import waiting
from tests.support.lines import value
from tests.support.processes import until
from tests.support.webhook import free_port
from warehouse import key_store
from warehouse.key_kinds import KeyKind
from warehouse.settings import settings

SITE = "https://www.example.com"
# Nothing listens there.
NO_DATABASE = "postgresql://nobody@127.0.0.1:9/none?connect_timeout=2"
# The command as `warehouse collect` runs it, but for how long a segment stays open.
_COLLECT = """\
import sys
from warehouse import process
from ingestion.collector.supervisor import collect

process.speak_utf8()
collect("127.0.0.1", int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
"""


@dataclass
class RunningCollector:
    """A collector that answers, on a port of this machine."""

    port: int
    process: subprocess.Popen[str]
    session: requests.Session = field(default_factory=requests.Session)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def send(
        self, key: str, events: Any, path: str = "/api/events", **headers: str
    ) -> requests.Response:
        """Send events as a server does, in JSON."""
        return self.session.post(
            self.url + path,
            data=json.dumps(events),
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
            | {name.replace("_", "-"): given for name, given in headers.items()},
            timeout=60,
        )

    def track(
        self, key: str, events: list[Any], origin: str | None = SITE, **headers: str
    ) -> requests.Response:
        """Send events as a page does."""
        given = {"Content-Type": "text/plain"} | ({"Origin": origin} if origin else {})
        return self.session.post(
            f"{self.url}/api/track",
            data=json.dumps({"key": key, "events": events}),
            headers=given | {name.replace("_", "-"): text for name, text in headers.items()},
            timeout=60,
        )

    def ready(self) -> dict[str, Any]:
        """What it says of itself."""
        return self.session.get(f"{self.url}/ready", timeout=10).json()

    def children(self, of: str = "") -> list[psutil.Process]:
        """Its workers or its lander."""
        found = []
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.Error):
                if f"ingestion.collector.{of}" in " ".join(child.cmdline()):
                    found.append(child)
        return found

    def stop(self, number: int = signal.SIGTERM) -> float:
        """Stop it; return how many seconds that took."""
        started = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(timeout=60)
        return time.monotonic() - started


@contextmanager
def collector(
    workers: int = 1, segment_seconds: float = 0.3, port: int | None = None, **environment: str
) -> Iterator[RunningCollector]:
    """Run a collector with the settings of this process, changed by ``environment``."""
    port = port or free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", _COLLECT, str(port), str(workers), str(segment_seconds)],
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    running = RunningCollector(port, process)
    try:
        until(lambda: _answers(running), what="the collector answers")
        yield running
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)


def _answers(running: RunningCollector) -> bool:
    assert running.process.poll() is None, "the collector ended"
    try:
        return running.session.get(f"{running.url}/health", timeout=5).ok
    except requests.RequestException:
        return False


def make_key(connection: psycopg.Connection, kind: str, **options: Any) -> str:
    """Make a key that collectors with this home know."""
    return key_store.create(connection, settings().home, KeyKind(kind), **options).key


def make_keys(connection: psycopg.Connection, client: str = "acme") -> dict[str, str]:
    """Make a key of each kind."""
    return {
        "browser": make_key(connection, "browser", client=client, origins=[SITE]),
        "server": make_key(connection, "server", client=client),
        "platform": make_key(connection, "platform"),
        "read": make_key(connection, "read", role="warehouse_analyst"),
        "marketing": make_key(connection, "marketing"),
    }


def now() -> str:
    return datetime.now(UTC).isoformat()


def signup(number: int, **changes: Any) -> dict[str, Any]:
    """A valid event of now, another one for each number, without an actor's client."""
    return {
        "event_id": f"00000000-0000-4000-8000-{number:012x}",
        "event": "signup",
        "timestamp": now(),
        "actor": {"user_id": f"user-{number}"},
    } | changes


def page_view(path: str = "/", *, consents: bool = True, **changes: Any) -> dict[str, Any]:
    """A page view as the tracker sends it."""
    context = {"page": {"path": path}, "consent": {"analytics": consents}}
    return {"event": "page_view", "timestamp": now(), "context": context} | changes


def until_landed(folder: Path | None = None) -> None:
    """Wait until nothing waits in the spool."""
    folder = folder or settings().spool_folder
    until(lambda: waiting(folder).segments == 0, what="everything has landed")


def landed(connection: psycopg.Connection) -> int:
    """How many events have landed, but for the collector's own."""
    return value(
        connection, "select count(*) from staging.raw_events where event <> 'system_metric'"
    )
