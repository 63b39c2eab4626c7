"""Where it is measured: an embedded server of its own, and the command line in processes."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg

from tests.conftest import WAREHOUSE, Server

SAMPLE_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Place:
    """A server, and a folder for files."""

    server: Server
    files: Path

    @contextmanager
    def fresh_warehouse(self) -> Iterator[psycopg.Connection]:
        """Give a connection, in autocommit, to an empty warehouse that the settings point to."""
        url = self.server.new_database()
        with self.server.environment(url), psycopg.connect(url, autocommit=True) as connection:
            yield connection
        self.server.drop_database(url)


@contextmanager
def own_place() -> Iterator[Place]:
    """Start a server in a temporary home, and leave nothing of it behind."""
    # A short path: a socket's has 107 bytes at most.
    home = Path(tempfile.mkdtemp(prefix="wh-"))
    try:
        server = Server(home, 18, home)
        try:
            files = home / "files"
            files.mkdir()
            yield Place(server, files)
        finally:
            server.stop()
    finally:
        shutil.rmtree(home)


def run(*arguments: object) -> tuple[float, dict[str, Any]]:
    """Run a command as people do; return its wall time in seconds and its answer."""
    started = time.perf_counter()
    done = _run(*arguments)
    return time.perf_counter() - started, json.loads(done.stdout)


def run_saying(*arguments: object) -> str:
    """Run a command as people do; return what it says on standard error."""
    return _run(*arguments).stderr


def _run(*arguments: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*WAREHOUSE, *map(str, arguments), "--json"], capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"`warehouse {arguments[0]}` failed: {done.stderr}")
    return done


def peak_bytes(*arguments: object) -> int:
    """Run a command; return the most memory that it and its child processes held at once.

    What they share, such as libraries, counts for each.
    """
    peak = 0
    with subprocess.Popen([*WAREHOUSE, *map(str, arguments)], stdout=subprocess.DEVNULL) as running:
        process = psutil.Process(running.pid)
        while running.poll() is None:
            with suppress(psutil.Error):
                peak = max(peak, sum(map(_bytes, [process, *process.children()])))
            time.sleep(SAMPLE_SECONDS)
    if running.returncode:
        raise RuntimeError(f"`warehouse {arguments[0]}` failed")
    return peak


def _bytes(process: psutil.Process) -> int:
    return process.memory_info().rss
