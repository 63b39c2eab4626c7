"""The real command line in processes of its own, and ways to stop one at a chosen moment."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psycopg

from tests.support.lines import value
from warehouse import private_files

CHUNK_LINES = 200
_HELD = 4711
# Where commands begin that are only waited for: a process that has imported them already.
_IMPORTED = multiprocessing.get_context("forkserver")
_IMPORTED.set_forkserver_preload(
    ["tests.support.processes", "orchestration.cli.app", "ingestion.load.loader"]
)


def in_small_chunks() -> None:
    """Run the command as a person types it, but so that small files have many chunks.

    From the third on they wait for a worker process, as they take no time to validate otherwise.
    """
    from ingestion.load import chunks
    from ingestion.load.workers import Workers
    from orchestration.cli.app import main

    def start_and_wait(self: Workers, start: Callable[[Workers], None] = Workers.start) -> None:
        start(self)
        while self.count and not self.has_idle:
            time.sleep(0.001)

    chunks.CHUNK_LINES, Workers.start = CHUNK_LINES, start_and_wait
    main()


_IN_SMALL_CHUNKS = (
    sys.executable,
    "-c",
    "from tests.support.processes import in_small_chunks; in_small_chunks()",
)


@dataclass(frozen=True)
class Finished:
    """How a command ended, and what it said."""

    code: int
    output: str
    errors: str

    @property
    def answer(self) -> dict[str, Any]:
        """The one JSON object on standard output."""
        return json.loads(self.output)


def start(
    *arguments: object, stdin: IO[bytes] | int | None = None, process_group: int | None = None
) -> subprocess.Popen[str]:
    """Start the command in the background."""
    return subprocess.Popen(
        [*_IN_SMALL_CHUNKS, *map(str, arguments)],
        stdin=stdin or subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=process_group,
    )


def finish(process: subprocess.Popen[str]) -> Finished:
    """Wait for a command to end."""
    output, errors = process.communicate(timeout=120)
    return Finished(process.returncode, output, errors)


def run(*arguments: object, stdin: IO[bytes] | int | None = None) -> Finished:
    """Run the command."""
    if stdin is not None:
        return finish(start(*arguments, stdin=stdin))
    with tempfile.TemporaryDirectory() as folder:
        process = _IMPORTED.Process(
            target=_run_in,
            args=(folder, [*map(str, arguments)], {**os.environ}, os.getcwd()),
        )
        process.start()
        process.join(timeout=120)
        code = process.exitcode
        if code is None:
            process.kill()
            raise subprocess.TimeoutExpired(["warehouse", *map(str, arguments)], 120)
        output, errors = (Path(folder, name).read_text("utf-8") for name in ("out", "err"))
    return Finished(code, output, errors)


def _run_in(folder: str, arguments: list[str], variables: dict[str, str], directory: str) -> None:
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(variables)
    for descriptor, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(Path(folder, name), os.O_WRONLY | os.O_CREAT), descriptor)
    sys.argv = ["warehouse", *arguments]
    in_small_chunks()


def load(*arguments: object, stdin: IO[bytes] | int | None = None) -> dict[str, Any]:
    """Load files that have nothing wrong; return what the command answers for them all."""
    finished = run("load", "--json", *arguments, stdin=stdin)
    assert (finished.code, finished.errors) == (0, "")
    return finished.answer


def open_to_others(home: Path) -> list[str]:
    """Return what of a home others may reach, with its permissions.

    Under root the server's user, and nobody else, may pass through the home itself.
    """
    passage = 0o010 if private_files.server_group() is not None else 0
    assert home.stat().st_mode & 0o077 & ~passage == 0
    return [
        f"{path}: {stat.filemode(status.st_mode)}"
        for path in home.rglob("*")
        if not stat.S_ISLNK((status := path.lstat()).st_mode) and status.st_mode & 0o077
    ]


def until(holds: Callable[[], object], seconds: float = 60, what: str = "it holds") -> None:
    """Wait until something holds; ``what`` says it in words.

    It is looked at often in the beginning and then less so: what is awaited needs the processor.
    """
    deadline, pause = time.monotonic() + seconds, 0.002
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(pause)
        pause = min(1.5 * pause, 0.2)


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a command that is under way as no signal handler can notice."""
    assert process.poll() is None, "it ended before it was killed"
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL


@contextmanager
def held(connection: psycopg.Connection, trigger: str) -> Iterator[Callable[[], bool]]:
    """Make every session wait where ``trigger`` (`before insert on … when (…)`) fires.

    Gives a function that returns whether one waits there. When the block is left it goes on.
    """
    connection.execute(
        "create function public.hold() returns trigger language plpgsql as "
        f"'begin perform pg_advisory_xact_lock_shared({_HELD}); return new; end'"
    )
    connection.execute("select pg_advisory_lock(%s)", (_HELD,))
    kind = "constraint trigger" if "deferred" in trigger else "trigger"
    connection.execute(f"create {kind} hold {trigger} execute function public.hold()")

    def is_waiting() -> bool:
        return value(
            connection,
            "select exists (select 1 from pg_locks where locktype = 'advisory' and objid = %s "
            "and not granted and database = "
            "(select oid from pg_database where datname = current_database()))",
            _HELD,
        )

    try:
        yield is_waiting
    finally:
        release(connection)
        until(lambda: not is_waiting())
        connection.execute("drop function public.hold() cascade")


def release(connection: psycopg.Connection) -> None:
    """Let those who are held go on; more than once does no harm."""
    connection.execute(
        "select pg_advisory_unlock(%s) from pg_locks where locktype = 'advisory' and objid = %s "
        "and pid = pg_backend_pid() and granted",
        (_HELD, _HELD),
    )


def batches(connection: psycopg.Connection) -> int:
    """How many batches are committed."""
    return value(connection, "select count(*) from staging.event_batches")
