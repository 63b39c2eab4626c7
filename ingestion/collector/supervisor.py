"""Runs the collector: its workers and its lander, processes that are started again if they end."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from ingestion.collector.spool import SEGMENT_SECONDS
from warehouse import private_files
from warehouse.errors import WarehouseError, printable
from warehouse.settings import PROJECT_DIR, settings

POLL_SECONDS = 0.1
BACKLOG = 2_048
LISTEN_SECONDS = 10.0
# A process that ends sooner is started again after a pause, which doubles each time.
SOON_SECONDS = 5.0
SHORTEST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
# After SIGTERM: workers answer what is under way, then the lander lands what is closed. Together
# less than 30 s.
WORKER_STOP_SECONDS, LANDER_STOP_SECONDS = 12.0, 14.0
# For glibc: fewer arenas, and freed memory goes back, so that a worker's memory stays flat.
_MEMORY = {"MALLOC_ARENA_MAX": "2"}


class CollectError(WarehouseError):
    """The collector can't run here."""


@dataclass
class _Child:
    """A process that is kept running."""

    name: str
    command: list[str]
    inherits: tuple[int, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    start_at: float = 0.0
    pause: float = SHORTEST_PAUSE

    def keep_running(self) -> None:
        """Start the process, or start it again if it has ended."""
        now = time.monotonic()
        if self.process is not None:
            code = self.process.poll()
            if code is None:
                return
            if self.process.stdin:
                self.process.stdin.close()
            self.process = None
            is_soon = now - self.started < SOON_SECONDS
            self.pause = min(2 * self.pause, LONGEST_PAUSE) if is_soon else SHORTEST_PAUSE
            self.start_at = now + self.pause
            print(f"The {self.name} ended ({code}) and is started again.", file=sys.stderr)
        if now >= self.start_at:
            self._start(now)

    def _start(self, now: float) -> None:
        path = os.pathsep.join(filter(None, (str(PROJECT_DIR), os.environ.get("PYTHONPATH"))))
        # Of a group of its own: Ctrl-C interrupts the parent, which then ends it.
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", *self.command],
            stdin=subprocess.PIPE,
            pass_fds=self.inherits,
            env=os.environ | _MEMORY | {"PYTHONPATH": path},
            process_group=0,
        )
        self.started = now

    def is_running(self) -> bool:
        """Return whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def signal(self, number: int) -> None:
        """Send a signal to the process if it runs."""
        if self.process is not None and self.is_running():
            self.process.send_signal(number)


def collect(
    host: str, port: int, workers: int | None = None, segment_seconds: float = SEGMENT_SECONDS
) -> None:
    """Take events over HTTP until SIGTERM or SIGINT.

    Raises CollectError if the address can't be listened at or the spool can't be created.
    """
    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: stopping.append(number))
    folder = _make_spool()
    _raise_file_limit()
    with _listen(host, port) as listening:
        lander = _Child("lander", ["ingestion.collector.lander"])
        web = [
            _Child(
                f"worker {number}",
                [
                    "ingestion.collector.worker",
                    str(listening.fileno()),
                    f"collector-{number}",
                    str(segment_seconds),
                ],
                (listening.fileno(),),
            )
            for number in range(1, (workers or default_workers()) + 1)
        ]
        address, at = listening.getsockname()[:2]
        shown = f"[{address}]" if ":" in address else address
        print(f"Events: http://{shown}:{at}, spool {folder}", file=sys.stderr, flush=True)
        try:
            while not stopping:
                for child in (lander, *web):
                    child.keep_running()
                time.sleep(POLL_SECONDS)
        finally:
            listening.close()
            _stop(web, WORKER_STOP_SECONDS)
            _stop([lander], LANDER_STOP_SECONDS)


def default_workers() -> int:
    """Return how many workers run by default: one, and for more than two cores half of them."""
    return max(1, min((os.cpu_count() or 1) // 2, 4))


def _make_spool() -> Path:
    folder = settings().spool_folder
    try:
        private_files.make_folder(settings().home)
        private_files.make_folder(folder)
        private_files.restrict_to_owner(folder.resolve())
    except OSError as error:
        raise CollectError(
            f"The spool {printable(folder)} can't be created: {error.strerror}. Name another "
            "folder in WAREHOUSE_SPOOL, or let this user write there."
        ) from None
    if not folder.is_dir():
        raise CollectError(f"WAREHOUSE_SPOOL is {printable(folder)}, which is not a folder.")
    return folder


def _listen(host: str, port: int) -> socket.socket:
    # The workers of a collector that was killed still listen for a moment.
    deadline = time.monotonic() + LISTEN_SECONDS
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        while True:
            listening = socket.socket(family, socket.SOCK_STREAM)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listening.bind(address)
                listening.listen(BACKLOG)
            except OSError as error:
                listening.close()
                if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                    raise
                time.sleep(POLL_SECONDS)
            else:
                return listening
    except OSError as error:
        raise CollectError(
            f"The collector can't listen at {host}, port {port}: {error.strerror or error}. Name "
            "another --host or --port."
        ) from None


def _raise_file_limit() -> None:
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _stop(children: list[_Child], seconds: float) -> None:
    for child in children:
        child.signal(signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while any(child.is_running() for child in children) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS / 2)
    for child in children:
        child.signal(signal.SIGKILL)
        if child.process is not None:
            child.process.wait()
