"""A load killed at any moment and started again ends as one that was never killed."""

from __future__ import annotations

import gzip
import random
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest
import zstandard

from ingestion.load import chunks
from ingestion.load.loader import load as load_here
from ingestion.sources.files import open_source
from tests.conftest import DEEP, ON_16, Server
from tests.support.lines import clean_file, contents, event, mixed_file, rows, value
from tests.support.processes import CHUNK_LINES, batches, held, kill, load, run, start, until

LINES = 6_000
CHUNKS = LINES // CHUNK_LINES
CONTENT = mixed_file(LINES)
FORMATS: dict[str, Callable[[bytes], bytes]] = {
    "events.ndjson": bytes,
    "events.ndjson.gz": gzip.compress,
    "events.ndjson.zst": zstandard.compress,
}
ON_16_AS_WELL = pytest.mark.parametrize("warehouse", [ON_16, 18], indirect=True)

Contents = dict[str, list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def unbroken(
    servers: Callable[[int], Server], tmp_path_factory: pytest.TempPathFactory
) -> Contents:
    """What a database holds after a load of CONTENT that nothing has disturbed."""
    server = servers(18)
    url = server.new_database()
    path = tmp_path_factory.mktemp("unbroken") / "events.ndjson"
    path.write_bytes(CONTENT)
    with (
        server.environment(url),
        pytest.MonkeyPatch.context() as patch,
        psycopg.connect(url) as connection,
    ):
        patch.setattr(chunks, "CHUNK_LINES", CHUNK_LINES)
        load_here(open_source(str(path)))
        found = contents(connection)
    server.drop_database(url)
    assert len(found["event_batches"]) == CHUNKS
    assert all(found.values())
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "events.ndjson"
    path.write_bytes(CONTENT)
    return path


def kill_in_chunk(
    connection: psycopg.Connection, chunk: int, *arguments: object, stdin: Any = None
) -> None:
    """Start a load and kill it before this chunk is committed, with all before it committed."""
    trigger = f"before insert on staging.event_batches for each row when (new.chunk = {chunk})"
    with held(connection, trigger) as is_waiting:
        process = start("load", *arguments, stdin=stdin)
        until(is_waiting)
        kill(process)
    assert batches(connection) == chunk


def ledger(connection: psycopg.Connection) -> list[tuple[Any, ...]]:
    return rows(connection, "select * from staging.event_batches order by batch_seq")


def assert_each_chunk_was_loaded_once(connection: psycopg.Connection) -> None:
    found = rows(
        connection,
        "select chunk, start_offset, end_offset, lines_before, lines from staging.event_batches "
        "order by batch_seq",
    )
    assert [chunk for chunk, *_ in found] == list(range(len(found)))
    assert found[0][1] == found[0][3] == 0
    for (_, _, end, before, count), (_, start_offset, _, lines_before, _) in pairwise(found):
        assert (end, before + count) == (start_offset, lines_before)
    assert found[-1][2] == len(CONTENT)


@pytest.mark.parametrize(
    ("name", "chunk"),
    [
        ("events.ndjson", 1),
        DEEP("events.ndjson", CHUNKS - 1),
        DEEP("events.ndjson.gz", 17),
        ("events.ndjson.zst", 17),
    ],
)
def test_a_load_that_was_killed_goes_on_after_its_last_committed_chunk(
    warehouse: psycopg.Connection, tmp_path: Path, unbroken: Contents, name: str, chunk: int
) -> None:
    path = tmp_path / name
    path.write_bytes(FORMATS[name](CONTENT))
    kill_in_chunk(warehouse, chunk, path)
    committed = ledger(warehouse)
    (answer,) = load(path)["files"]
    assert answer["resumed_at_line"] == sum(batch[9] for batch in committed) + 1
    assert ledger(warehouse)[:chunk] == committed
    assert_each_chunk_was_loaded_once(warehouse)
    assert contents(warehouse) == unbroken


@ON_16_AS_WELL
def test_standard_input_that_was_killed_goes_on_when_it_is_sent_again(
    warehouse: psycopg.Connection, file: Path, unbroken: Contents
) -> None:
    with file.open("rb") as stdin:
        kill_in_chunk(warehouse, 11, "-", stdin=stdin)
    committed = ledger(warehouse)
    with file.open("rb") as stdin:
        assert load("-", stdin=stdin)["files"][0]["resumed_at_line"]
    assert ledger(warehouse)[:11] == committed
    assert_each_chunk_was_loaded_once(warehouse)
    assert contents(warehouse) == unbroken


FIRST_OF_CHUNK_5 = event(5 * CHUNK_LINES)["event_id"]
MOMENTS = {
    "its first batch": "before insert on staging.event_batches for each row when (new.chunk = 0)",
    "the copying of events": "before insert on staging.raw_events for each row "
    f"when (new.event_id = '{FIRST_OF_CHUNK_5}')",
    "the ledger's row": "before insert on staging.event_batches for each row when (new.chunk = 5)",
    "the refused lines": "before insert on staging.rejected_events for each row "
    f"when (new.line_number > {5 * CHUNK_LINES})",
    "the used numbers": "before insert on staging.used_sequences for each row "
    f"when (new.sequence > {5 * CHUNK_LINES})",
    "the commit": "after insert on staging.event_batches deferrable initially deferred "
    "for each row when (new.chunk = 5)",
}


@pytest.mark.parametrize(
    ("moment", "warehouse"),
    [
        *((moment, 18) for moment in MOMENTS),
        DEEP("the copying of events", 16),
        DEEP("the commit", 16),
    ],
    indirect=["warehouse"],
)
def test_a_load_may_be_killed_at_every_moment_of_a_chunk(
    warehouse: psycopg.Connection, file: Path, unbroken: Contents, moment: str
) -> None:
    with held(warehouse, MOMENTS[moment]) as is_waiting:
        process = start("load", file)
        until(is_waiting)
        kill(process)
    load(file)
    assert_each_chunk_was_loaded_once(warehouse)
    assert contents(warehouse) == unbroken


def test_a_load_that_only_lacked_the_note_that_it_is_done_has_nothing_left_to_do(
    warehouse: psycopg.Connection, file: Path, unbroken: Contents
) -> None:
    note = "before update on staging.loads for each row when (new.state = 'finished')"
    with held(warehouse, note) as is_waiting:
        process = start("load", file)
        until(is_waiting)
        kill(process)
        # Else the server might still write it down.
        until(lambda: not sessions(warehouse))
    (answer,) = load(file)["files"]
    assert answer["resumed_at_line"] == LINES + 1
    assert_each_chunk_was_loaded_once(warehouse)
    assert contents(warehouse) == unbroken


@pytest.mark.parametrize(
    "moment", [DEEP("the copying of events"), DEEP("the ledger's row"), "the commit"]
)
def test_it_may_be_started_again_while_the_server_still_works_for_the_killed_one(
    warehouse: psycopg.Connection,
    file: Path,
    unbroken: Contents,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    monkeypatch.setattr(chunks, "CHUNK_LINES", CHUNK_LINES)
    with ThreadPoolExecutor(1) as pool:
        with held(warehouse, MOMENTS[moment]) as is_waiting:
            process = start("load", file)
            until(is_waiting)
            kill(process)
            left_over = sessions(warehouse)
            # In this process, which has started already: the server soon notices that one is gone.
            again = pool.submit(load_here, open_source(str(file)))
            until(lambda: sessions(warehouse, waiting=True) - left_over)
        # A commit that was sent in time counts, and is not loaded again.
        done = 6 if moment == "the commit" else 5
        assert again.result().resumed_at_line in {5 * CHUNK_LINES + 1, done * CHUNK_LINES + 1}
    assert_each_chunk_was_loaded_once(warehouse)
    assert contents(warehouse) == unbroken


def sessions(connection: psycopg.Connection, *, waiting: bool = False) -> set[int]:
    """The server's processes that work for loads, or those of them that wait for a lock."""
    found = rows(
        connection,
        "select pid from pg_stat_activity where application_name = 'warehouse load' "
        "and datname = current_database() and (not %s or wait_event_type = 'Lock')",
        waiting,
    )
    return {pid for (pid,) in found}


@pytest.mark.deep
def test_a_load_killed_again_and_again_at_random_ends_as_an_unbroken_one(
    warehouse: psycopg.Connection, file: Path, unbroken: Contents
) -> None:
    moments = random.Random(7)
    kills = 0
    while not value(warehouse, "select count(*) from staging.loads where state = 'finished'"):
        goal = batches(warehouse) + moments.randint(0, CHUNKS // 3)
        process = start("load", file)
        until(lambda p=process, n=goal: p.poll() is not None or batches(warehouse) >= n)
        try:
            process.communicate(timeout=moments.random() * 0.05)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills += 1
    assert kills
    assert_each_chunk_was_loaded_once(warehouse)
    assert contents(warehouse) == unbroken


OTHER = {
    "all of it": clean_file(2_000, first=LINES),
    # Told apart by what comes after the first 64 KiB.
    "but its head": CONTENT[: CONTENT.index(b"\n", 70_000) + 1] + clean_file(2_000, first=LINES),
    "and is shorter": CONTENT[: CONTENT.index(b"\n", 70_000) + 1],
}


@pytest.mark.parametrize("difference", OTHER)
def test_a_file_that_was_replaced_since_the_kill_is_loaded_from_its_start(
    warehouse: psycopg.Connection, file: Path, difference: str
) -> None:
    kill_in_chunk(warehouse, 11, file)
    file.write_bytes(OTHER[difference])
    (answer,) = load(file)["files"]
    assert answer["resumed_at_line"] is None
    assert answer["received"] == sum(not text.isspace() for text in OTHER[difference].splitlines())
    found = rows(
        warehouse,
        "select b.start_offset, b.end_offset from staging.event_batches as b "
        "inner join staging.loads as l using (load_id) where l.state = 'finished' order by chunk",
    )
    assert found[0][0] == 0
    assert found[-1][1] == len(OTHER[difference])
    assert value(warehouse, "select count(*) from staging.raw_events") == value(
        warehouse, "select sum(accepted) from staging.event_batches"
    )


@pytest.mark.deep
def test_another_standard_input_of_the_same_head_is_refused_once_and_then_loaded(
    warehouse: psycopg.Connection, file: Path
) -> None:
    with file.open("rb") as stdin:
        kill_in_chunk(warehouse, 11, "-", stdin=stdin)
    file.write_bytes(OTHER["but its head"])
    with file.open("rb") as stdin:
        refused = run("load", "-", stdin=stdin)
    assert refused.code == 1
    assert "send the input again" in refused.errors
    with file.open("rb") as stdin:
        (answer,) = load("-", stdin=stdin)["files"]
    assert answer["resumed_at_line"] is None
    assert answer["received"] == OTHER["but its head"].count(b'{"event_id')


@pytest.mark.deep
def test_a_finished_file_loaded_again_is_all_duplicates(
    warehouse: psycopg.Connection, file: Path, unbroken: Contents
) -> None:
    first = load(file)["total"]
    second = load(file)["total"]
    landed = first["accepted"] + first["duplicates"]
    assert second == first | {"accepted": 0, "duplicates": landed}
    assert contents(warehouse)["raw_events"] == unbroken["raw_events"]


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "events.ndjson"])
def test_of_a_truncated_archive_the_whole_chunks_stay_and_repaired_it_goes_on(
    warehouse: psycopg.Connection, tmp_path: Path, unbroken: Contents, name: str
) -> None:
    path = tmp_path / name
    # More than one piece of compressed data, as a stream writer leaves them.
    middle = len(CONTENT) // 2
    whole = FORMATS[name](CONTENT[:middle]) + FORMATS[name](CONTENT[middle:])
    path.write_bytes(whole[:-10])
    broken = run("load", path)
    assert broken.code == 1
    assert str(path) in broken.errors
    assert "is damaged" in broken.errors
    assert "load it again" in broken.errors
    committed = ledger(warehouse)
    assert 0 < len(committed) < CHUNKS
    path.write_bytes(whole)
    assert load(path)["files"][0]["resumed_at_line"]
    assert ledger(warehouse)[: len(committed)] == committed
    assert_each_chunk_was_loaded_once(warehouse)
    assert contents(warehouse) == unbroken
