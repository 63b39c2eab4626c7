"""While sessions write to a source in every order, pulls take each row once and miss none.

The writers' transactions overlap, commit late and out of order, roll back, change rows, delete
them and use their keys again. Pulls run beside them, and some are killed. The overlap is shorter
than the transactions: what is reread is what was open.
"""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from tests.conftest import DEEP, Server
from tests.support.lines import rows, value
from tests.support.sources import compared, pull, source_of

# Longer than a session may stand between the begin of its transaction and saying so.
OVERLAP = timedelta(seconds=1)
LONGEST_TRANSACTION = 3.0
WRITERS = 6
KEYS = 300
TABLES = """
create table notes (id text primary key, updated_at timestamptz not null default now());
create table versions (id text not null, updated_at timestamptz not null);
create function note() returns trigger language plpgsql as
'begin insert into versions values (new.id, new.updated_at); return new; end';
create trigger note after insert or update on notes for each row execute function note();
create index on notes (updated_at);
"""
CHANGES = (
    "insert into notes values (%s, {at}) on conflict (id) do nothing",
    "update notes set updated_at = {at} where id = %s",
    "delete from notes where id = %s",
)
TIMES = ("now()", "statement_timestamp()", "clock_timestamp()")
STREAMS = {
    "notes": """
        select id as key, 'signup' as event, updated_at as "timestamp",
        jsonb_build_object('client_id', 'acme', 'user_id', id) as actor
        from notes where updated_at >= :since and updated_at < :until
    """
}
_PULL = f"""\
from dataclasses import replace
from datetime import timedelta
from ingestion.load import chunks
from ingestion.sources.postgres import declared
from orchestration.cli.app import main

find, overlap = declared.find_source, timedelta(seconds={OVERLAP.total_seconds()})
declared.find_source = lambda name: replace(find(name), overlap=overlap)
chunks.CHUNK_LINES = 50
main()
"""


@pytest.fixture
def source(
    warehouse: psycopg.Connection, servers: Callable[[int], Server], tmp_path: Path
) -> Iterator[psycopg.Connection]:
    server = servers(18)
    url = server.new_database("template0")
    with psycopg.connect(url, autocommit=True) as connection, source_of(tmp_path, url, STREAMS):
        connection.execute(TABLES)
        yield connection
    server.drop_database(url)


def write(url: str, seed: int, ended: threading.Event) -> None:
    """Write in transactions of random length until the others have ended, too."""
    rng = random.Random(seed)
    with psycopg.connect(url) as connection:
        # Two writers that wait for each other's rows: one gives up.
        connection.execute("set deadlock_timeout = '50ms'")
        connection.commit()
        while not ended.is_set():
            try:
                for _ in range(rng.randrange(1, 12)):
                    change(connection, rng)
                    if rng.random() < 0.1:
                        time.sleep(rng.random() * LONGEST_TRANSACTION / 3)
                connection.rollback() if rng.random() < 0.1 else connection.commit()
            except (psycopg.errors.DeadlockDetected, psycopg.errors.UniqueViolation):
                connection.rollback()


def change(connection: psycopg.Connection, rng: random.Random) -> None:
    key = f"note-{rng.randrange(KEYS)}"
    statement = rng.choice(CHANGES).format(at=rng.choice(TIMES))
    connection.execute(statement, (key,))


@contextmanager
def writers(url: str) -> Iterator[None]:
    ended = threading.Event()
    threads = [
        threading.Thread(target=write, args=(url, seed, ended), daemon=True)
        for seed in range(WRITERS)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join(60)


def pull_and_kill(rng: random.Random) -> None:
    """Pull in a process of its own; kill half of them at some moment, however far they are."""
    process = subprocess.Popen(
        [sys.executable, "-c", _PULL, "pull", "shop"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    if rng.random() < 0.5:
        time.sleep(0.5 + rng.random() * 2)
        process.kill()
    _, said = process.communicate(timeout=120)
    assert process.returncode in (0, -9), said


@pytest.mark.parametrize(("seconds", "kills"), [(6, False), DEEP(40, True)])
def test_every_row_is_an_event_once_and_compare_finds_what_was_deleted(
    warehouse: psycopg.Connection, source: psycopg.Connection, seconds: float, kills: bool
) -> None:
    rng = random.Random(seconds)
    with writers(source.info.dsn):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if kills:
                pull_and_kill(rng)
            else:
                assert pull(overlap=OVERLAP)["notes"].error is None
    assert pull(overlap=OVERLAP)["notes"].error is None

    there = set(rows(source, "select id, updated_at from notes"))
    written = set(rows(source, "select id, updated_at from versions"))
    landed = rows(warehouse, "select context ->> 'row', timestamp from staging.raw_events")
    assert len(landed) > 100
    assert len(landed) == len(set(landed))
    assert there <= set(landed) <= written
    # The end of the time that is compared is the last pull's: all transactions had ended then.
    found = compared()["notes"]
    assert (found.rows, found.missed, found.rejected) == (len(there), 0, 0)
    gone = {key for key, _ in landed} - {key for key, _ in there}
    assert found.deleted_keys == sorted(gone, key=str.encode)
    lost = value(warehouse, "select count(*) from staging.raw_events where context is null")
    assert lost == 0
