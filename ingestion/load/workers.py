"""Validates chunks in several processes, so that a load is not bound to one interpreter.

`subprocess` starts a worker, and not multiprocessing: that would fork beside threads, or import the
main module of this process again in each worker, which takes Dagster's seconds; and its workers
outlive a loader that is killed.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Self

from ingestion.contract.validator import Receipt
from ingestion.load.chunks import RawChunk
from ingestion.load.validation import ValidatedChunk, validate_raw
from ingestion.load.worker import receive, send
from ingestion.privacy.suppression import Erased
from warehouse.errors import WarehouseError

# A process takes as long to start as a chunk takes to be validated, so a load of few chunks starts
# none.
CHUNKS_HERE = 2
# One connection lands the chunks: more would validate faster than the server can write.
MOST_WORKERS = 4
_PROJECT = Path(__file__).resolve().parents[2]
# -P: Python does not look for modules in the current folder, which may be anybody's.
_COMMAND = (sys.executable, "-P", "-m", "ingestion.load.worker")


# For glibc, else without effect: a worker keeps the memory of a chunk for the next one. To return
# it and to get it again page by page takes a twentieth of its time.
_KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "268435456", "MALLOC_TRIM_THRESHOLD_": "268435456"}


class WorkerEndedError(WarehouseError):
    """A worker process could not be started or has ended; the message says how."""


def default_count() -> int:
    """Return how many workers a load has by default: the cores less one, at most MOST_WORKERS."""
    return min(_cores() - 1, MOST_WORKERS)


def _cores() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Workers:
    """Validates chunks in this process and in ``count`` others, for one load after the other.

    The processes start with the third chunk of a load, or by ``start``. A chunk goes to one that
    is idle; it is validated here if there is none. When the context is left they are killed: they
    hold nothing that would be lost.
    """

    def __init__(self, count: int | None = None) -> None:
        self.count = default_count() if count is None else count
        self._workers: list[_Worker] = []
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        # Each thread waits for one worker.
        self._threads = ThreadPoolExecutor(max(self.count, 1), thread_name_prefix="worker")

    def __enter__(self) -> Self:
        """Return itself: processes start when they are needed."""
        return self

    def __exit__(self, *_: object) -> None:
        """Kill the processes."""
        for worker in self._workers:
            worker.kill()
        self._threads.shutdown(cancel_futures=True)
        for worker in self._workers:
            worker.close()

    @property
    def has_idle(self) -> bool:
        """Whether a process waits for a chunk."""
        return not self._idle.empty()

    def submit(self, raw: RawChunk, receipt: Receipt) -> Future[ValidatedChunk]:
        """Validate a chunk; the caller must be the only one.

        The future, or this method, raises the validator's exception or WorkerEndedError.
        """
        if raw.start.chunks >= CHUNKS_HERE:
            self.start()
        if self.has_idle:
            return self._threads.submit(self._validate, self._idle.get(), raw, receipt)
        done: Future[ValidatedChunk] = Future()
        done.set_result(validate_raw(raw, receipt))
        return done

    def start(self) -> None:
        """Start the processes if they are not running, without waiting for them."""
        while len(self._workers) < self.count:
            worker = _Worker()
            self._workers.append(worker)
            self._threads.submit(self._await_start, worker)

    def _await_start(self, worker: _Worker) -> None:
        try:
            worker.await_start()
        finally:
            # Also if it has ended: whoever uses it finds out why.
            self._idle.put(worker)

    def _validate(self, worker: _Worker, raw: RawChunk, receipt: Receipt) -> ValidatedChunk:
        try:
            return worker.validate(raw, receipt)
        finally:
            self._idle.put(worker)


class _Worker:
    """A worker process, and the connection to it."""

    def __init__(self) -> None:
        self._connection, theirs = socket.socketpair()
        path = os.pathsep.join(filter(None, (str(_PROJECT), os.environ.get("PYTHONPATH"))))
        with theirs:
            try:
                # In a process group of its own: Ctrl-C interrupts the loader, which then ends it.
                self._process = subprocess.Popen(
                    _COMMAND,
                    stdin=theirs,
                    stdout=subprocess.DEVNULL,
                    env=os.environ | _KEEP_MEMORY | {"PYTHONPATH": path},
                    process_group=0,
                )
            except OSError as error:
                self._connection.close()
                raise WorkerEndedError(
                    f"a worker process could not be started: {error.strerror}"
                ) from None
        # Those that the process knows.
        self._erased: Erased | None = None

    def await_start(self) -> None:
        """Wait until the process can validate. Raises ConnectionError if it has ended."""
        receive(self._connection)

    def validate(self, raw: RawChunk, receipt: Receipt) -> ValidatedChunk:
        """Let the process validate a chunk. Raises its exception, or WorkerEndedError."""
        is_as_before = receipt.erased is self._erased
        sent = replace(receipt, erased=None) if is_as_before else receipt
        try:
            send(self._connection, (raw, sent, is_as_before))
            self._erased = receipt.erased
            outcome = receive(self._connection)
        except ConnectionError:
            raise WorkerEndedError(f"a worker process {self._how_it_ended()}") from None
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _how_it_ended(self) -> str:
        code = self._process.wait()
        if code >= 0:
            return f"ended with exit code {code}"
        why = "; memory may have run out" if -code == signal.SIGKILL else ""
        return f"was ended by signal {-code} ({signal.strsignal(-code)}){why}"

    def kill(self) -> None:
        """Kill the process, whatever it does, and wait for its end."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Close the connection to it."""
        self._connection.close()
