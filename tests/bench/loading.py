"""Loads: how fast beside a bare COPY, in how much memory, onto how much disk."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import psycopg
import zstandard

from ingestion.contract.validator import Receipt
from ingestion.load import chunks
from ingestion.load.loader import load
from ingestion.load.validation import validate_raw
from ingestion.load.workers import Workers, default_count
from ingestion.sources.files import BLOCK, open_source
from orchestration.cli.output import step
from tests.bench.events import event_lines, write_events
from tests.bench.figures import Figure, at_least, at_most, for_information
from tests.bench.place import Place, peak_bytes
from tests.support.lines import empty

ROUNDS = 3
WORKERS = (0, 1, 2, 3)
# In MB, of the loader and one worker together.
LARGEST_PEAK = 300


def throughput(place: Place, lines: int) -> Iterator[Figure]:
    """Compare loads of fresh lines with a bare COPY of the same file, turn by turn."""
    file = write_events(place.files / "throughput.ndjson", lines)
    bare: list[float] = []
    again: list[float] = []
    loaded: dict[int, list[float]] = {count: [] for count in {*WORKERS, default_count()}}
    with place.fresh_warehouse() as connection:
        # The first round warms up: imports, caches, the first partitions.
        for turn in range(ROUNDS + 1):
            step(f"Loading {lines:,} lines against a bare COPY, {turn} of {ROUNDS}")
            bare.append(_seconds(connection, lambda: _bare_copy(connection, file)))
            for count, seconds in loaded.items():
                empty(connection)
                seconds.append(_seconds(connection, lambda n=count: _load(file, n, lines)))
            again.append(_seconds(connection, lambda: _load(file, default_count(), 0)))

    def against_bare_copy(seconds: list[float]) -> float:
        return median(b / s for b, s in zip(bare[1:], seconds[1:], strict=True))

    yield at_least(
        "load of new events / bare COPY, throughput",
        against_bare_copy(loaded[default_count()]),
        0.5,
    )
    for count, seconds in loaded.items():
        yield for_information(f"the same with {count} workers", against_bare_copy(seconds))
    yield for_information(
        "load of the same file again / bare COPY, throughput", against_bare_copy(again)
    )
    yield for_information("bare COPY, lines/s", lines / median(bare[1:]), "{:,.0f}")
    for count, seconds in loaded.items():
        yield for_information(
            f"load of new events with {count} workers, lines/s",
            lines / median(seconds[1:]),
            "{:,.0f}",
        )
    yield for_information("bytes per line of these files", file.stat().st_size / lines, "{:.0f}")
    file.unlink()


def _bare_copy(connection: psycopg.Connection, file: Path) -> None:
    connection.execute("create table if not exists bare (line jsonb)")
    with connection.cursor().copy("copy bare from stdin") as copy, file.open("rb") as source:
        while block := source.read(BLOCK):
            copy.write(block.replace(b"\\", b"\\\\"))


def _load(file: Path, workers: int, accepted: int) -> None:
    with Workers(workers) as pool:
        counts = load(open_source(str(file)), workers=pool).counts
    if counts.accepted != accepted:
        raise RuntimeError(f"{accepted:,} lines should be accepted: {counts}")


def _seconds(connection: psycopg.Connection, work: Callable[[], object]) -> float:
    """Time something that writes; what was written before it is on disk by then."""
    connection.execute("drop table if exists bare")
    connection.execute("checkpoint")
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def memory_and_disk(place: Place, few: int, many: int) -> Iterator[Figure]:
    """Measure the peak of a load of few or many events, and what they take on disk."""
    peaks = []
    for lines in (few, many):
        with place.fresh_warehouse() as connection:
            step(f"Loading {lines:,} events in a process of its own")
            file = write_events(place.files / "memory.ndjson", lines)
            peaks.append(peak_bytes("load", file))
            file.unlink()
            bytes_per_event = _bytes_on_disk(connection) / lines
        yield _peak(f"{lines:,} events", peaks[-1])
    yield at_most(f"peak memory, {many:,} / {few:,} events", peaks[1] / peaks[0], 1.15)
    with place.fresh_warehouse():
        step(f"Loading {many:,} events from .zst")
        file = place.files / "memory.ndjson.zst"
        with file.open("wb") as packed:
            zstandard.ZstdCompressor().copy_stream(
                io.BytesIO(b"\n".join(event_lines(many, 0))), packed
            )
        peak = peak_bytes("load", file)
        file.unlink()
    yield _peak(f"{many:,} events in .zst", peak)
    yield at_most("staging with indexes, bytes per event", bytes_per_event, 650, "{:.0f}")


def _peak(file: str, peak: int) -> Figure:
    return at_most(f"peak memory, {file}, MB", peak / 1e6, LARGEST_PEAK, "{:.0f}")


def _bytes_on_disk(connection: psycopg.Connection) -> int:
    row = connection.execute(
        "select sum(pg_total_relation_size(i.inhrelid))::bigint "
        "+ pg_total_relation_size('staging.event_batches') "
        "from pg_inherits as i where i.inhparent = 'staging.raw_events'::regclass"
    ).fetchone()
    assert row is not None
    return row[0]


def validating(place: Place, lines: int) -> Iterator[Figure]:
    """Time what the load does without a server: cutting a file into chunks, and validating them."""
    step(f"Validating {lines:,} lines")
    file = write_events(place.files / "validating.ndjson", lines)
    receipt = Receipt(datetime.now(UTC), bytes(32), batch_id=1)
    cutting, validating = [], []
    for _ in range(ROUNDS + 1):
        started = time.perf_counter()
        parts = list(chunks.cut(open_source(str(file)).blocks(0), chunks.Offset()))
        cutting.append(time.perf_counter() - started)
        started = time.perf_counter()
        for part in parts:
            validate_raw(part, receipt)
        validating.append(time.perf_counter() - started)
    yield for_information("cutting alone, lines/s", lines / median(cutting[1:]), "{:,.0f}")
    yield for_information("validating alone, lines/s", lines / median(validating[1:]), "{:,.0f}")
