"""Worker processes change nothing about a load but its speed, and none outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from ingestion.contract.validator import Receipt
from ingestion.load import chunks, workers
from ingestion.load.chunks import Offset, RawChunk
from ingestion.load.loader import LoadError, load
from ingestion.load.validation import ValidatedChunk, validate_raw
from ingestion.load.workers import WorkerEndedError, Workers
from ingestion.privacy.countries import CountryDatabaseError
from ingestion.sources.drop_folder import load_dropped
from ingestion.sources.files import open_source
from tests.support.lines import contents, empty, mixed_file, rows, value
from tests.support.processes import CHUNK_LINES, batches, finish, held, start, until
from tests.support.processes import load as load_by_command

LINES = 20 * CHUNK_LINES
CONTENT = mixed_file(LINES)
RECEIPT = Receipt(datetime(2026, 2, 1, tzinfo=UTC), b"s" * 32, batch_id=1)
RAW = RawChunk(Offset(), Offset(1, len(CONTENT), LINES), CONTENT)
HELD_CHUNK = 5
IN_THE_MIDDLE = (
    f"before insert on staging.event_batches for each row when (new.chunk = {HELD_CHUNK})"
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "events.ndjson"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_LINES", CHUNK_LINES)


def started(pool: Workers) -> Workers:
    pool.start()
    until(lambda: pool.has_idle)
    return pool


@pytest.fixture
def pool() -> Iterator[Workers]:
    with Workers(1) as found:
        yield started(found)


def workers_of(parent: int) -> list[psutil.Process]:
    """The worker processes that a process has started."""
    return [
        process
        for process in psutil.Process(parent).children()
        if "ingestion.load.worker" in process.cmdline()
    ]


def test_workers_start_with_the_third_chunk_and_end_with_the_load(
    warehouse: psycopg.Connection, file: Path, small_chunks: None
) -> None:
    running = []
    for lines in (2 * CHUNK_LINES, LINES):
        file.write_bytes(b"".join(CONTENT.splitlines(keepends=True)[:lines]))
        running.append(0)
        with Workers(2) as pool:

            def count(*_: object) -> None:
                running[-1] = len(workers_of(os.getpid()))

            load(open_source(str(file)), count, pool)
        assert workers_of(os.getpid()) == []
    assert running == [0, 2]


@pytest.mark.parametrize("count", [0, 2])
def test_with_any_number_of_workers_a_file_lands_alike(
    warehouse: psycopg.Connection, file: Path, small_chunks: None, pool: Workers, count: int
) -> None:
    load(open_source(str(file)), workers=pool)
    expected = contents(warehouse)
    empty(warehouse)
    assert load_by_command("--workers", count, file)["total"]["received"]
    assert contents(warehouse) == expected


def test_what_was_read_before_a_damage_lands_also_if_it_was_with_the_workers(
    warehouse: psycopg.Connection, file: Path, small_chunks: None, pool: Workers
) -> None:
    source = open_source(str(file))

    def damaged(offset: int) -> Iterator[bytes]:
        yield from source.blocks(offset)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        load(replace(source, blocks=damaged), workers=pool)
    # All whole chunks, for the last may not be complete.
    assert batches(warehouse) == LINES // CHUNK_LINES


def test_progress_tells_how_far_a_file_was_read_for_what_has_landed(
    warehouse: psycopg.Connection, file: Path, small_chunks: None, pool: Workers
) -> None:
    source = open_source(str(file))
    reads = 0

    def slowly(offset: int) -> Iterator[bytes]:
        nonlocal reads
        for text in CONTENT[offset:].splitlines(keepends=True):
            reads += 1
            yield text

    seen: list[tuple[int, int]] = []
    load(
        replace(source, blocks=slowly, position=lambda: reads),
        lambda position, counts: seen.append((position, counts.received)),
        pool,
    )
    # The first lines are read at once, to recognize the file.
    (head, _), *_ = seen
    assert head < LINES / 2
    assert [position for position, _ in seen] == [
        max(head, CHUNK_LINES * number) for number in range(1, 1 + LINES // CHUNK_LINES)
    ]
    assert seen[-1][1] == sum(not text.isspace() for text in CONTENT.splitlines())


def test_a_killed_worker_ends_the_load_with_its_reason_and_nothing_half_done(
    warehouse: psycopg.Connection, file: Path
) -> None:
    with held(warehouse, IN_THE_MIDDLE) as is_waiting:
        process = start("load", "--workers", 2, file)
        until(is_waiting)
        for worker in workers_of(process.pid):
            worker.kill()
    finished = finish(process)
    assert finished.code == 1
    assert str(file) in finished.errors
    assert "a worker process was ended by signal 9 (Killed); memory may" in finished.errors
    assert "run the same command again" in finished.errors
    assert "Traceback" not in finished.errors
    committed = batches(warehouse)
    assert HELD_CHUNK < committed < LINES // CHUNK_LINES
    ((state, error),) = rows(warehouse, "select state, error from staging.loads")
    assert state == "failed"
    assert error.startswith("a worker process was ended by signal 9")
    answer = load_by_command(file)["files"][0]
    assert answer["resumed_at_line"] == committed * CHUNK_LINES + 1
    assert value(warehouse, "select count(*) from staging.event_batches") == LINES // CHUNK_LINES
    assert value(warehouse, "select count(*) from staging.raw_events") == answer["accepted"]


def test_a_dropped_file_stays_for_the_next_run_where_a_worker_is_killed(
    warehouse: psycopg.Connection,
    file: Path,
    small_chunks: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waiting = file.parent / "drop" / "events" / "events.ndjson"
    waiting.parent.mkdir(parents=True)
    file.rename(waiting)
    os.utime(waiting, (0, 0))

    killed: list[psutil.Process] = []

    def start_and_kill(self: Workers, start: Callable[[Workers], None] = Workers.start) -> None:
        start(self)
        while not killed:
            killed.extend(workers_of(os.getpid()))
            killed[0].kill()
        until(lambda: self.has_idle)

    monkeypatch.setattr(workers, "default_count", lambda: 1)
    with monkeypatch.context() as patch:
        patch.setattr(Workers, "start", start_and_kill)
        with pytest.raises(LoadError, match="was ended by signal 9"):
            list(load_dropped(file.parent / "drop"))
    assert len(list((file.parent / "drop" / "loading" / "events").iterdir())) == 1
    os.utime(next((file.parent / "drop" / "loading" / "events").iterdir()), (0, 0))
    (dropped,) = load_dropped(file.parent / "drop")
    assert dropped.error is None
    assert batches(warehouse) == LINES // CHUNK_LINES


class Spoiling(Workers):
    """Workers that stumble over a chunk."""

    def submit(self, raw: RawChunk, receipt: Receipt) -> Future[ValidatedChunk]:
        """Submit the chunk, or one that nobody has foreseen."""
        until(lambda: self.has_idle)
        end: Any = None if raw.start.chunks == HELD_CHUNK else raw.end
        return super().submit(replace(raw, end=end), receipt)


def test_what_a_worker_raises_ends_the_load_with_its_traceback_and_nothing_half_done(
    warehouse: psycopg.Connection, file: Path, small_chunks: None
) -> None:
    with (
        Spoiling(2) as spoiling,
        pytest.raises(AttributeError, match="no attribute 'lines'") as raised,
    ):
        load(open_source(str(file)), workers=started(spoiling))
    (note,) = raised.value.__notes__
    assert "ingestion/load/worker.py" in note
    assert "in split" in note
    assert batches(warehouse) == HELD_CHUNK
    ((state, error),) = rows(warehouse, "select state, error from staging.loads")
    assert state == "failed"
    assert "no attribute 'lines'" in error
    assert load(open_source(str(file))).resumed_at_line == HELD_CHUNK * CHUNK_LINES + 1
    assert batches(warehouse) == LINES // CHUNK_LINES


def test_a_worker_goes_on_after_an_exception(pool: Workers) -> None:
    with pytest.raises(AttributeError):
        pool.submit(replace(RAW, end=None), RECEIPT).result()  # type: ignore[arg-type]
    assert pool.submit(RAW, RECEIPT).result() == validate_raw(RAW, RECEIPT)


def test_an_error_that_people_know_comes_from_a_worker_as_from_here(
    pool: Workers, tmp_path: Path
) -> None:
    path = tmp_path / "countries.mmdb"
    path.write_bytes(b"no database")
    receipt = replace(RECEIPT, country_database=path)
    with pytest.raises(CountryDatabaseError) as here:
        validate_raw(RAW, receipt)
    with pytest.raises(CountryDatabaseError) as there:
        pool.submit(RAW, receipt).result()
    assert str(there.value) == str(here.value)


def test_a_worker_that_cannot_start_is_reported(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(workers, "_COMMAND", (sys.executable, "-c", "raise SystemExit(7)"))
    with Workers(1) as pool:
        pool.start()
        until(lambda: pool.has_idle)
        with pytest.raises(WorkerEndedError, match="a worker process ended with exit code 7"):
            pool.submit(RAW, RECEIPT).result()
    monkeypatch.setattr(workers, "_COMMAND", ("/no/such/python",))
    with Workers(1) as pool, pytest.raises(WorkerEndedError, match="could not be started: No such"):
        pool.start()


def test_a_worker_imports_nothing_from_the_current_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("msgspec", "pickle", "ingestion"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('planted')")
    monkeypatch.chdir(tmp_path)
    with Workers(1) as pool:
        assert started(pool).submit(RAW, RECEIPT).result() == validate_raw(RAW, RECEIPT)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_however_a_load_is_ended_its_workers_end_too_and_say_nothing(
    warehouse: psycopg.Connection, file: Path, interruptible: None, number: signal.Signals
) -> None:
    with held(warehouse, IN_THE_MIDDLE) as is_waiting:
        # In a group of its own, as a shell starts it: Ctrl-C reaches the whole group.
        process = start("load", "--workers", 2, file, process_group=0)
        until(is_waiting)
        found = workers_of(process.pid)
        assert len(found) == 2
        os.killpg(process.pid, number)
        if number != signal.SIGINT:
            # Also while the server has not noticed it.
            process.wait(timeout=60)
            until(lambda: not any(worker.is_running() for worker in found))
    finished = finish(process)
    assert not any(worker.is_running() for worker in found)
    if number == signal.SIGINT:
        assert finished.code == 130
        assert finished.errors.startswith("warehouse: Interrupted. Committed work is kept")
    else:
        assert (finished.code, finished.errors) == (-number, "")
    load_by_command(file)
    assert value(warehouse, "select count(*) from staging.event_batches") == LINES // CHUNK_LINES


def test_a_wrong_number_of_workers_is_wrong_usage(tmp_path: Path) -> None:
    finished = finish(start("load", "--workers", -1, tmp_path / "events.ndjson"))
    assert finished.code == 2
    assert "--workers" in finished.errors


@pytest.mark.parametrize(("cores", "count"), [(1, 0), (2, 1), (5, 4), (64, 4)])
def test_by_default_there_is_a_worker_per_core_but_one_and_not_too_many(
    monkeypatch: pytest.MonkeyPatch, cores: int, count: int
) -> None:
    monkeypatch.setattr(workers, "_cores", lambda: cores)
    assert workers.default_count() == count


def test_a_worker_starts_without_what_takes_long_to_import() -> None:
    script = (
        "import sys, ingestion.load.worker; "
        "print({'psycopg', 'pydantic', 'typer', 'dagster'} & set(sys.modules))"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert found.stdout == "set()\n"
