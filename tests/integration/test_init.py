from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

import warehouse.schema.tables
from tests.conftest import DEEP, WAREHOUSE, settings_of
from tests.support.lines import rows, value
from tests.support.processes import run, until
from warehouse import database, embedded
from warehouse.schema import functions
from warehouse.schema.migrate import Migrated, SchemaError, migrate
from warehouse.settings import settings


def test_init_a_second_time_has_nothing_to_do(warehouse):
    assert migrate() == Migrated(ran=[], for_dba=[])


def test_a_database_of_another_version_is_refused_with_what_to_do(warehouse):
    ours = value(warehouse, "select version_num from warehouse.migrations")
    warehouse.execute("update warehouse.migrations set version_num = '0099'")
    try:
        with pytest.raises(SchemaError, match=r"set up by another version.*start with a new"):
            migrate()
    finally:
        warehouse.execute("update warehouse.migrations set version_num = %s", (ours,))


def test_views_are_made_after_those_that_they_read():
    texts = {"a.reads": b"create view a.reads as select from a.z;", "a.z": b"create view a.z as"}
    assert [name for name, _ in functions._in_order(texts)] == ["a.z", "a.reads"]


def test_init_twice_at_once_migrates_once(servers):
    server = servers(18)
    url = server.new_database(template="template0")
    with server.environment(url):
        both = [
            subprocess.Popen([*WAREHOUSE, "init", "--json"], stdout=subprocess.PIPE)
            for _ in range(2)
        ]
        ran = [json.loads(process.communicate(timeout=60)[0])["migrations"] for process in both]
    server.drop_database(url)
    versions = Path(warehouse.schema.tables.__file__).parent.glob("versions/*.sql")
    assert sorted(ran) == [[], sorted(path.name[1:5] for path in versions)]
    assert [process.returncode for process in both] == [0, 0]


def test_a_function_whose_file_has_changed_is_made_anew_and_one_without_a_file_goes(
    warehouse: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = tmp_path / "functions"
    shutil.copytree(functions.FUNCTIONS, files)
    monkeypatch.setattr(functions, "FUNCTIONS", files)
    one = files / "warehouse" / "one.sql"
    make = "create or replace function warehouse.one() returns {} language sql as 'select {}'"

    one.write_text(make.format("integer", "1"))
    migrate()
    assert value(warehouse, "select warehouse.one()") == 1
    oid = value(warehouse, "select 'warehouse.one'::regproc::oid")
    migrate()
    assert value(warehouse, "select 'warehouse.one'::regproc::oid") == oid

    one.write_text("drop function if exists warehouse.one();" + make.format("text", "''two''"))
    migrate()
    assert value(warehouse, "select warehouse.one()") == "two"

    one.write_text(make.format("text", "''three''") + "; select 1 / 0")
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate()
    assert value(warehouse, "select warehouse.one()") == "two"

    one.unlink()
    migrate()
    assert value(warehouse, "select count(*) from pg_proc where proname = 'one'") == 0
    assert set(rows(warehouse, "select name from warehouse.applied_files")) == {
        ("access",),
        *((f"{path.parent.name}.{path.stem}",) for path in files.glob("*/*.sql")),
    }


@pytest.fixture
def new_home() -> Iterator[Path]:
    """A home with no server yet, of a name that a shell could take amiss."""
    home = Path(tempfile.mkdtemp(prefix="it's mine "))
    with settings_of(home, 18, None):
        yield home
        embedded.stop()
    shutil.rmtree(home)


@pytest.mark.parametrize("send", [os.kill, os.killpg], ids=["alone", "with-its-children"])
def test_a_first_init_that_was_killed_is_made_good_by_the_next(
    new_home: Path, send: Callable[[int, int], None]
) -> None:
    first = subprocess.Popen([*WAREHOUSE, "init"], start_new_session=True)
    until((new_home / "pg18.unfinished" / "base" / "1").exists)
    send(first.pid, signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    assert not (new_home / "pg18").exists()

    second = run("init")
    assert (second.code, second.errors) == (0, "")
    assert {path.name for path in new_home.iterdir()} == {
        ".warehouse-home", "drop", "pg18", "pg18.lock",
    }  # fmt: skip
    with psycopg.connect(embedded.url()) as connection:
        for name, setting in {
            "listen_addresses": "", "unix_socket_permissions": "0700",
            "log_timezone": "UTC", "max_wal_size": "4GB", "lc_messages": "C.UTF-8",
        }.items():  # fmt: skip
            assert value(connection, f"show {name}") == setting
        trusted = "select distinct type from pg_hba_file_rules where auth_method = 'trust'"
        assert rows(connection, trusted) == [("local",)]


def test_a_server_whose_files_were_removed_is_ended_when_they_are_made_anew(new_home: Path) -> None:
    embedded.start()
    with psycopg.connect(embedded.url()) as old:
        shutil.rmtree(new_home / "pg18")
        embedded.start()
        with pytest.raises(psycopg.OperationalError):
            old.execute("select")
    psycopg.connect(embedded.url()).close()


@pytest.mark.parametrize(
    "end", ["a backend is killed", "it is stopped", DEEP("its start is cut off")]
)
def test_who_connects_while_the_server_starts_or_ends_waits_for_it(
    new_home: Path, end: str
) -> None:
    embedded.start()
    with psycopg.connect(embedded.url(), autocommit=True) as old:
        old.execute("create table long_to_recover as select generate_series(1, 3000000)")
        if end == "a backend is killed":
            os.kill(old.info.backend_pid, signal.SIGKILL)
        elif end == "it is stopped":
            embedded._pg_ctl(embedded._server(settings().cluster), "stop", "-m", "fast", "-W")
        else:
            os.kill(postmaster(), signal.SIGKILL)
        with pytest.raises(psycopg.OperationalError):
            until(lambda: old.execute("select pg_sleep(0.01)") and False)
    if end == "its start is cut off":
        before = postmaster()
        starts = subprocess.Popen([*WAREHOUSE, "init"])
        until(lambda: postmaster() != before)
        starts.kill()
        starts.wait()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(embedded.url()).close()
    with database.connect() as connection:
        counted = "select count(*) from public.long_to_recover"
        assert value(connection, counted) == 3_000_000


def postmaster() -> int:
    return int((settings().cluster / "postmaster.pid").read_text().split()[0])
