"""Loads side by side: each event lands once, and batches are numbered as they commit."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.conftest import ON_16
from tests.support.lines import clean_file, mixed_file, rows, value
from tests.support.processes import Finished, batches, finish, held, start, until

ON_16_AS_WELL = pytest.mark.parametrize("warehouse", [ON_16, 18], indirect=True)


def load_at_once(*files: Path) -> list[dict[str, Any]]:
    """Load each file in a process of its own; return what each counted."""
    return [answer(finish(process)) for process in start_loads(*files)]


def start_loads(*files: Path) -> list[subprocess.Popen[str]]:
    return [start("load", "--json", file) for file in files]


def answer(finished: Finished) -> dict[str, Any]:
    assert (finished.code, finished.errors) == (0, "")
    return finished.answer["total"]


def written(directory: Path, name: str, content: bytes) -> Path:
    path = directory / name
    path.write_bytes(content)
    return path


def summed(totals: list[dict[str, Any]]) -> Counter[str]:
    return sum(map(Counter, totals), Counter())


def assert_counts_reconcile(connection: psycopg.Connection) -> None:
    """Batches say what is there, and each event is there once."""
    wrong = rows(
        connection,
        "select b.batch_seq from staging.event_batches as b "
        "where b.accepted <> (select count(*) from staging.raw_events as e "
        "where e.batch_id = b.batch_id) "
        "or b.rejected <> (select count(*) from staging.rejected_events as r "
        "where r.batch_seq = b.batch_seq)",
    )
    assert wrong == []
    assert value(connection, "select count(*) from staging.raw_events") == value(
        connection,
        "select count(*) from (select distinct client_id, event_id, timestamp "
        "from staging.raw_events) as keys",
    )
    ids = "select batch_seq from staging.event_batches order by batch_seq"
    numbers = [number for (number,) in rows(connection, ids)]
    assert numbers == list(range(1, len(numbers) + 1))


@ON_16_AS_WELL
def test_of_two_loads_of_one_file_at_once_each_line_lands_once(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    lines = 3_000
    path = written(tmp_path, "events.ndjson", mixed_file(lines))
    total = summed(load_at_once(path, path))
    distinct = value(warehouse, "select count(*) from staging.raw_events")
    received = 2 * sum(not line.isspace() for line in mixed_file(lines).splitlines())
    assert total["received"] == received
    assert total["accepted"] == distinct > lines / 2
    assert total["rejected"] == total["suppressed"] == 2 * lines / 10
    assert total["duplicates"] == received - distinct - 4 * lines / 10
    assert_counts_reconcile(warehouse)


@ON_16_AS_WELL
def test_two_files_with_the_same_events_in_opposite_order_do_not_get_stuck(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    lines = clean_file(4_000).splitlines(keepends=True)
    there = written(tmp_path, "there.ndjson", b"".join(lines))
    back = written(tmp_path, "back.ndjson", b"".join(reversed(lines)))
    total = summed(load_at_once(there, back, there, back))
    assert total["accepted"] == len(lines)
    assert total["duplicates"] == 3 * len(lines)
    assert_counts_reconcile(warehouse)


class Reader:
    """Reads the ledger as a build does, and holds it to its promise."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        self.seen = 0
        self.looks_with_changes = 0

    def look(self) -> None:
        """See what is new: whoever sees batch N sees all before it, with all their rows."""
        found = rows(
            self._connection,
            "select b.batch_seq, b.accepted, b.rejected, "
            "(select count(*) from staging.raw_events as e where e.batch_id = b.batch_id), "
            "(select count(*) from staging.rejected_events as r where r.batch_seq = b.batch_seq) "
            "from staging.event_batches as b where b.batch_seq > %s order by b.batch_seq",
            self.seen,
        )
        for number, accepted, rejected, *there in found:
            assert number == self.seen + 1, "a number before it was missing"
            assert there == [accepted, rejected], f"batch {number} was seen without all its rows"
            self.seen = number
        self.looks_with_changes += bool(found)
        # None may turn up below what was seen.
        count = "select count(*) from staging.event_batches where batch_seq <= %s"
        assert value(self._connection, count, self.seen) == self.seen


def test_eight_loaders_number_their_batches_without_a_gap_in_the_order_of_their_commits(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    lines = 1_500
    files = []
    for number in range(8):
        # Neighbours share half of their events.
        content = clean_file(lines, first=number * lines // 2) + mixed_file(200)
        files.append(written(tmp_path, f"{number}.ndjson", content))
    processes = start_loads(*files)
    reader = Reader(warehouse)
    while any(process.poll() is None for process in processes):
        reader.look()
    total = summed([answer(finish(process)) for process in processes])
    reader.look()
    assert reader.looks_with_changes > 8
    assert reader.seen == value(warehouse, "select count(*) from staging.event_batches")
    assert reader.seen == value(warehouse, "select max(batch_seq) from staging.event_batches")
    assert total["accepted"] == value(warehouse, "select count(*) from staging.raw_events")
    assert total["accepted"] == lines // 2 * 9
    assert_counts_reconcile(warehouse)
    in_order = rows(
        warehouse,
        "select committed_at >= lag(committed_at) over (order by batch_seq) "
        "from staging.event_batches order by batch_seq offset 1",
    )
    assert all(later for (later,) in in_order)


def test_a_batch_that_is_not_committed_keeps_later_numbers_from_being_seen(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    slow = written(tmp_path, "slow.ndjson", clean_file(10))
    fast = written(tmp_path, "fast.ndjson", clean_file(10, first=10))
    late = "after insert on staging.event_batches deferrable initially deferred for each row "
    with held(warehouse, f"{late} when (new.source like '%slow.ndjson')") as is_waiting:
        (first,) = start_loads(slow)
        until(is_waiting)
        (second,) = start_loads(fast)
        waits = (
            "select count(*) from pg_locks where not granted and (locktype = 'advisory' "
            "or relation = 'warehouse.lock_batch_seq'::regclass)"
        )
        until(lambda: value(warehouse, waits) == 2)
        assert batches(warehouse) == 0
    assert answer(finish(first))["accepted"] == answer(finish(second))["accepted"] == 10
    numbers = rows(warehouse, "select source from staging.event_batches order by batch_seq")
    assert numbers == [(str(slow),), (str(fast),)]
