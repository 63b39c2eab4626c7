"""Whatever comes, and whatever breaks: a clear message, the right exit code, nothing lost."""

from __future__ import annotations

import gzip
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.conftest import WAREHOUSE, Server, settings_of
from tests.support.lines import clean_file, event, line, raw_property, rows, value
from tests.support.processes import (
    CHUNK_LINES,
    Finished,
    batches,
    finish,
    held,
    load,
    run,
    start,
    until,
)
from warehouse import database, embedded

GOOD = line(1), line(2)
SECRET = "hunter2"  # noqa: S105 (what messages must not show)


EVENT_3 = event(3)["event_id"].encode()


def dated(timestamp: str) -> bytes:
    return line(3, timestamp=timestamp)


def nested(levels: int) -> bytes:
    # The event and its properties are two levels themselves.
    return raw_property(3, "[" * (levels - 2) + "]" * (levels - 2))


# A line and the reason it is refused for: None where it is taken.
BAD_LINES: dict[str, tuple[bytes, str | None]] = {
    "invalid UTF-8": (raw_property(3, '"HERE"').replace(b"HERE", b"\xff"), "invalid_encoding"),
    "a file in UTF-16": (line(3).decode().encode("utf-16").replace(b"\n", b""), "invalid_encoding"),
    "a line of 256 KiB": (line(3)[:-1].ljust(262_144), None),
    "a line of a byte more": (line(3)[:-1].ljust(262_145), "too_large"),
    "a line of 300 KiB": (raw_property(3, '"' + "x" * 300 * 1024 + '"'), "too_large"),
    "a line of 20 MiB": (b"x" * (20 << 20), "too_large"),
    "a line behind 20 MiB of space": (b" " * (20 << 20) + line(3)[:-1], "too_large"),
    "NUL in a string": (raw_property(3, r'"a\u0000b"'), "invalid_field"),
    "NUL in a name": (raw_property(3, r'{"a\u0000b":1}'), "invalid_field"),
    "a byte of NUL": (raw_property(3, '"a\0b"'), "invalid_json"),
    "a lone surrogate": (raw_property(3, r'"\ud83d"'), "invalid_json"),
    "a number beyond 64 bits": (raw_property(3, "9" * 30), None),
    "such a number in the plan": (
        line(3, event="api_cost", properties={"service": "s", "cost_cents": 2**63}),
        "invalid_field",
    ),
    "a number of 40 digits": (raw_property(3, "9" * 38 + ".25e-308"), None),
    "a number beyond a double": (raw_property(3, "1e400"), "invalid_field"),
    "a number that jsonb alone holds": (raw_property(3, "[1e131071]"), "invalid_field"),
    "a number beyond jsonb": (raw_property(3, "1e200000"), "invalid_field"),
    "a number without end": (raw_property(3, "9" * 100_000), "invalid_field"),
    "a number that a later one replaces": (raw_property(3, '{"a":1e999,"a":1}'), "invalid_field"),
    "NUL that a later text replaces": (raw_property(3, r'{"a":"\u0000","a":1}'), "invalid_field"),
    "a day before the earliest": (dated("2000-01-01T00:00:00Z"), "timestamp_out_of_range"),
    "NaN": (raw_property(3, "NaN"), "invalid_json"),
    "the year 0": (dated("0000-01-01T00:00:00Z"), "timestamp_out_of_range"),
    "the year 1": (dated("0001-01-01T00:00:00+01:00"), "timestamp_out_of_range"),
    "the year 9999": (dated("9999-12-31T23:59:59-01:00"), "timestamp_out_of_range"),
    "a leap second": (dated("2016-12-31T23:59:60Z"), "invalid_field"),
    "no offset": (dated("2026-01-01T00:00:00"), "invalid_field"),
    "64 levels": (nested(64), None),
    "65 levels": (nested(65), "invalid_json"),
    "100,000 levels": (b"[" * 100_000, "invalid_json"),
    "escapes without end": (b'{"a":"' + b'\\"' * 130_000, "invalid_json"),
    "a timestamp of 100,000 digits": (
        dated("2100-01-01T00:00:00." + "5" * 100_000 + "Z"), "timestamp_out_of_range",
    ),
    "NUL in a name of 100,000 letters": (
        raw_property(3, '{"' + "x" * 100_000 + r'\u0000":1}'), "invalid_field",
    ),
    "an unknown event": (line(3, event="sign_up"), "unknown_event"),
    "an unknown member": (line(3, id=5), "unknown_field"),
    "no client": (line(3, actor={"user_id": "u"}), "missing_field"),
    "no object": (b"[]", "not_an_object"),
    "no JSON": (b"event,timestamp,client_id", "invalid_json"),
    "half a line": (line(3)[:100], "invalid_json"),
}  # fmt: skip


def test_each_bad_line_is_refused_with_its_reason_and_those_around_it_land(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    lines = []
    for number, (bad, _) in enumerate(BAD_LINES.values()):
        lines += [bad.replace(EVENT_3, event(100 + number)["event_id"].encode()), line(number)]
    path = tmp_path / "events.ndjson"
    path.write_bytes(b"".join(text.removesuffix(b"\n") + b"\n" for text in lines))
    reasons = {name: reason for name, (_, reason) in BAD_LINES.items() if reason}

    finished = run("load", path, "--json", "--strict")
    assert (finished.code, finished.errors) == (3, "")
    accepted = len(lines) - len(reasons)
    assert finished.answer["total"] == {
        "received": len(lines),
        "accepted": accepted,
        "duplicates": 0,
        "suppressed": 0,
        "rejected": len(reasons),
        "suppressed_erased": 0,
    }
    assert value(warehouse, "select count(*) from staging.raw_events") == accepted
    found = rows(
        warehouse, "select line_number, reason, payload, detail from staging.rejected_events"
    )
    names = dict(enumerate(BAD_LINES))
    assert {names[(number - 1) // 2]: reason for number, reason, _, _ in found} == reasons
    for number, _, payload, detail in found:
        # Of what is too large the quarantine keeps the beginning.
        bad = lines[number - 1].removesuffix(b"\n")
        assert payload == bad[:262_144]
        assert payload == bad or f"the line has {len(bad):,} bytes" in detail
        assert 0 < len(detail) <= 2_000


FILES: dict[str, tuple[bytes, int]] = {
    "nothing": (b"", 0),
    "a byte-order mark alone": (b"\xef\xbb\xbf", 0),
    "blank lines": (b"\n \r\n\t\n\r\n", 0),
    "20 MiB of space": (b" " * (20 << 20), 0),
    "CRLF": (b"".join(GOOD).replace(b"\n", b"\r\n"), 2),
    "a byte-order mark": (b"\xef\xbb\xbf" + b"".join(GOOD), 2),
    "no newline at its end": (b"".join(GOOD).removesuffix(b"\n"), 2),
    "blank lines between": (b"\n\n" + GOOD[0] + b" \r\n\n" + GOOD[1] + b"\n", 2),
}


def test_files_of_odd_form_are_loaded_without_a_complaint(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    paths = [tmp_path / f"{name}.ndjson" for name in FILES]
    for path, (content, _) in zip(paths, FILES.values(), strict=True):
        path.write_bytes(content)
    answer = load(*paths, "--strict")
    for found, (_, lines) in zip(answer["files"], FILES.values(), strict=True):
        assert (found["received"], found["rejected"]) == (lines, 0), found["source"]
    assert value(warehouse, "select count(*) from staging.raw_events") == len(GOOD)
    states = rows(warehouse, "select distinct state from staging.loads")
    assert states == [("finished",)]


def test_standard_input_may_be_packed_or_an_array_and_what_is_neither_leaves_no_load(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    events = b",".join(line.rstrip() for line in GOOD)
    for content in (gzip.compress(GOOD[0]), b"[" + events + b"]", gzip.compress(b"[" + events)):
        file = tmp_path / "input"
        file.write_bytes(content)
        with file.open("rb") as stdin:
            loaded = run("load", "-", "--json", stdin=stdin)
    assert value(warehouse, "select count(*) from staging.raw_events") == len(GOOD)
    assert loaded.code == 1
    assert "Standard input is a JSON array that is damaged after item 1: it is not closed" in (
        loaded.errors
    )
    loads = value(warehouse, "select count(*) from staging.loads")
    file.write_bytes(b"{\n" + GOOD[0].lstrip(b"{"))
    refused = run("load", file)
    assert (refused.code, refused.output) == (1, "")
    assert "has JSON objects over several lines: write one per line" in refused.errors
    assert value(warehouse, "select count(*) from staging.loads") == loads


@pytest.mark.parametrize("command", [("load",), ("load-entities", "units")])
def test_rejected_lines_are_a_success_unless_asked_to_be_strict_about(
    warehouse: psycopg.Connection, tmp_path: Path, command: tuple[str, ...]
) -> None:
    path = tmp_path / "events.ndjson"
    unit = b'{"unit_id":"u1","updated_at":"2026-01-01T00:00:00Z"}\n'
    path.write_bytes((GOOD[0] if command == ("load",) else unit) + b"no JSON\n")
    assert run(*command, path).code == 0
    strict = run(*command, path, "--strict")
    assert strict.code == 3
    assert "warehouse rejected list" in strict.errors


@pytest.mark.parametrize(
    "arguments",
    [
        ("load",),
        ("load", "--no-such-option", "x"),
        ("load-entities", "planets", "x"),
        ("load-entities", "clients"),
        ("rejected", "show", "first"),
        ("no-such-command",),
    ],
)
def test_wrong_usage_differs_from_failure(arguments: tuple[str, ...]) -> None:
    finished = run(*arguments)
    assert finished.code == 2
    assert "Usage" in finished.errors
    assert finished.output == ""


def assert_failed(finished: Finished, *words: str) -> None:
    """It failed with one sentence for people that holds these words and no secret."""
    assert finished.code == 1
    assert finished.output == ""
    assert finished.errors.startswith("warehouse: ")
    assert finished.errors.count("\n") == 1
    for word in words:
        assert word in finished.errors
    assert "Traceback" not in finished.errors
    assert SECRET not in finished.errors


@pytest.mark.parametrize("command", [("load",), ("load-entities", "clients")])
def test_a_file_that_is_not_there_is_named(
    warehouse: psycopg.Connection, tmp_path: Path, command: tuple[str, ...]
) -> None:
    missing = tmp_path / "events.ndjson"
    assert_failed(run(*command, missing), str(missing), "No such file")
    assert_failed(run(*command, tmp_path), str(tmp_path), "Is a directory")


@pytest.mark.parametrize("command", [("load",), ("load-entities", "clients")])
def test_a_file_that_cannot_be_read_holds_up_no_other_and_every_one_is_reported(
    warehouse: psycopg.Connection, tmp_path: Path, command: tuple[str, ...]
) -> None:
    first, missing, empty, last = (
        tmp_path / name for name in ("a.ndjson", "b.ndjson", "c.ndjson.gz", "d.ndjson")
    )
    first.write_bytes(b"no JSON\n")
    empty.touch()
    last.write_bytes(b"no JSON\n")
    finished = run(*command, "--json", "--strict", first, missing, empty, last)
    assert finished.code == 1
    of_missing, of_empty = (json.loads(line)["error"] for line in finished.errors.splitlines())
    assert of_missing == f"{missing} can't be read: No such file or directory."
    assert of_empty.startswith(f"{empty} is damaged gzip data")
    assert finished.answer.get("total", finished.answer)["rejected"] == 2


def test_what_was_loaded_before_a_load_was_interrupted_is_reported(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    first, second = tmp_path / "a.ndjson", tmp_path / "b.ndjson"
    first.write_bytes(GOOD[0])
    second.write_bytes(GOOD[1] * 2)
    warehouse.execute(
        "alter table staging.event_batches add constraint of_one check (received = 1) not valid"
    )
    finished = run("load", "--json", first, second)
    assert finished.code == 1
    assert f"The load of {second} was interrupted" in finished.errors
    assert [file["source"] for file in finished.answer["files"]] == [str(first)]


def run_with(redirection: str, *arguments: object) -> Finished:
    command = ["sh", "-c", f'exec "$@" {redirection}', "sh", *WAREHOUSE, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return Finished(done.returncode, done.stdout, done.stderr)


def test_closed_streams_are_reported_or_not_needed(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    assert_failed(run_with("<&-", "load", "-"), "Standard input is closed")
    path = tmp_path / "events.ndjson"
    path.write_bytes(GOOD[0])
    assert run_with("2>&-", "load", path).code == 0


def test_a_file_without_permission_is_named(tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(GOOD[0])
    path.chmod(0)
    command = [*WAREHOUSE, "load", str(path)]
    if os.access(path, os.R_OK):
        setpriv = shutil.which("setpriv")
        if not setpriv:
            pytest.skip("this user reads every file, and without setpriv can't lay that down")
        command = [setpriv, "--bounding-set=-dac_override,-dac_read_search", *command]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert_failed(
        Finished(done.returncode, done.stdout, done.stderr), str(path), "Permission denied"
    )


def test_a_file_that_vanishes_while_it_is_read_is_loaded_to_its_end(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    content = clean_file(6_000)
    path = tmp_path / "events.ndjson"
    path.write_bytes(content)
    with held(warehouse, "before insert on staging.event_batches for each row") as is_waiting:
        process = start("load", "--json", path)
        until(is_waiting)
        path.unlink()
    assert finish(process).answer["total"]["accepted"] == 6_000


def test_a_file_that_vanished_before_it_could_be_resumed_is_missed_clearly(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(clean_file(2_000))
    with held(
        warehouse, "before insert on staging.event_batches for each row when (new.chunk = 3)"
    ) as is_waiting:
        process = start("load", path)
        until(is_waiting)
        process.kill()
        process.communicate()
    content = path.read_bytes()
    path.unlink()
    assert_failed(run("load", path), str(path), "No such file")
    path.write_bytes(content)
    assert load(path)["files"][0]["resumed_at_line"] == 3 * CHUNK_LINES + 1
    assert value(warehouse, "select count(*) from staging.raw_events") == 2_000


def test_ctrl_c_says_how_to_go_on_and_loses_nothing(
    warehouse: psycopg.Connection, tmp_path: Path, interruptible: None
) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(clean_file(2_000))
    with held(
        warehouse, "before insert on staging.event_batches for each row when (new.chunk = 3)"
    ) as is_waiting:
        process = start("load", path)
        until(is_waiting)
        process.send_signal(signal.SIGINT)
    finished = finish(process)
    assert finished.code == 130
    assert "Interrupted" in finished.errors
    assert "same command again" in finished.errors
    committed = batches(warehouse)
    assert committed >= 3
    assert value(warehouse, "select state from staging.loads") == "failed"
    answer = load(path)
    assert answer["files"][0]["resumed_at_line"] == committed * CHUNK_LINES + 1
    assert answer["total"]["accepted"] == 2_000
    assert value(warehouse, "select count(*) from staging.raw_events") == 2_000


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let processes that are started feel Ctrl-C, even where this one was told not to."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"postgresql://me:{SECRET}@127.0.0.1:1/db", ("127.0.0.1:1/db", "refused")),
        (f"postgresql://me:{SECRET}@nowhere.invalid/db", ("nowhere.invalid", "resolve")),
        (f"postgresql://me:{SECRET}@127.0.0.1:port/db", ("127.0.0.1:port",)),
        (f"postgresql:/me:{SECRET}@127.0.0.1/db", ("not a libpq URL", "postgresql://USER")),
        (f"mysql://me:{SECRET}@127.0.0.1/db", ("not a libpq URL", "postgresql://USER")),
        (f"{SECRET}", ("not a libpq URL", "postgresql://USER")),
        (f"postgresql://me:{SECRET}%ff@127.0.0.1/db", ("not a libpq URL", "postgresql://USER")),
        (f"postgresql://me:{SECRET}℀@127.0.0.1/db", ("@ as %40",)),
        (f"postgresql://me:[{SECRET}@127.0.0.1/db", ("[ as %5B",)),
    ],
)
def test_a_database_that_cannot_be_reached_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("WAREHOUSE_DATABASE_URL", url)
    path = tmp_path / "events.ndjson"
    path.write_bytes(GOOD[0])
    assert_failed(run("load", path), "WAREHOUSE_DATABASE_URL", *words)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("POSTGRES_VERSION", "18 or 16"),
        ("RETENTION_DAYS", "valid integer"),
        ("PARTITIONS_START", "valid date"),
        ("EARLIEST_EVENT", "valid date"),
    ],
)
def test_a_setting_that_cannot_be_is_named_without_its_value(
    monkeypatch: pytest.MonkeyPatch, name: str, words: str
) -> None:
    monkeypatch.setenv(f"WAREHOUSE_{name}", SECRET)
    assert_failed(run("status"), f"WAREHOUSE_{name} can't be used", words)


def test_an_earliest_day_before_2000_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAREHOUSE_EARLIEST_EVENT", "1999-12-31")
    assert_failed(
        run("status"),
        "WAREHOUSE_EARLIEST_EVENT can't be used",
        "greater than or equal to 2000-01-01",
    )


def test_events_are_taken_from_the_earliest_day_that_is_set(
    warehouse: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(
        line(1, timestamp="2000-01-02T00:00:00+00:01")
        + line(2, timestamp="2000-01-02T00:00:00Z")
        + line(3, timestamp="2000-01-02T00:00:00-00:01")
    )
    monkeypatch.setenv("WAREHOUSE_EARLIEST_EVENT", "2000-01-02")
    finished = run("load", path, "--json")
    assert finished.answer["total"]["accepted"] == 2
    assert rows(warehouse, "select reason, detail from staging.rejected_events")[0][1].startswith(
        "$.timestamp: expected a time from 2000-01-02 to 24 h after receipt"
    )


def test_a_server_that_is_too_old_is_reported_in_one_sentence(
    warehouse: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "OLDEST_SERVER", 19)
    reported = (
        rf"^The server at .*/{warehouse.info.dbname} is PostgreSQL 18\.\d+; .* needs 19 or newer\.$"
    )
    with pytest.raises(database.DatabaseError, match=reported):
        database.connect()
    others = "select count(*) from pg_stat_activity where application_name = 'warehouse'"
    until(lambda: value(warehouse, f"{others} and datname = current_database()") == 0)


def test_a_database_that_was_not_set_up_says_what_to_run(
    servers: Callable[[int], Server], tmp_path: Path
) -> None:
    server = servers(18)
    url = server.new_database(template="template0")
    path = tmp_path / "events.ndjson"
    path.write_bytes(GOOD[0])
    with server.environment(url):
        assert_failed(run("load", path), "run `warehouse init`")
    server.drop_database(url)


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    """A server that a test may break."""
    home = Path(tempfile.mkdtemp(prefix="wh-"))
    server = Server(home, 18, home)
    yield server
    server.stop()
    shutil.rmtree(home)


def query(url: str, statement: str) -> Any:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else None


def test_a_wrong_password_is_reported_and_not_shown(own_server: Server, tmp_path: Path) -> None:
    url = own_server.new_database()
    query(url, "create role someone login superuser password 'right'")
    rules = own_server.home / "pg18" / "pg_hba.conf"
    rules.write_text("local all someone scram-sha-256\n" + rules.read_text())
    query(url, "select pg_reload_conf()")
    path = tmp_path / "events.ndjson"
    path.write_bytes(GOOD[0])
    wrong = url.replace("postgres@", f"someone:{SECRET}@")
    with own_server.environment(wrong):
        until(lambda: "password" in run("load", path).errors)
        assert_failed(run("load", path), "someone", "WAREHOUSE_DATABASE_URL")
    with own_server.environment(url.replace("postgres@", "someone:right@")):
        assert load(path)["total"]["accepted"] == 1


@pytest.mark.deep
def test_a_server_that_stops_in_the_middle_loses_nothing(tmp_path: Path) -> None:
    home = Path(tempfile.mkdtemp(prefix="wh-"))
    server = Server(home, 18, home)
    url = server.new_database()
    path = tmp_path / "events.ndjson"
    path.write_bytes(clean_file(2_000))
    with server.environment(url), psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "create function public.dawdle() returns trigger language plpgsql as "
            "'begin perform pg_sleep(60); return new; end'"
        )
        connection.execute(
            "create trigger dawdle before insert on staging.event_batches for each row "
            "when (new.chunk = 3) execute function public.dawdle()"
        )
        process = start("load", path)
        until(lambda: batches(connection) == 3)
        stop_at_once(home / "pg18")
        assert_failed(finish(process), str(path), "was interrupted", "run the same command again")
        assert_failed(run("load", path), "WAREHOUSE_DATABASE_URL", "server is up")
    with server.environment():
        embedded.start()
    with server.environment(url):
        assert query(url, "select count(*) from staging.event_batches") == [(3,)]
        query(url, "drop function public.dawdle() cascade")
        answer = load(path)
        assert answer["files"][0]["resumed_at_line"] == 3 * CHUNK_LINES + 1
        assert answer["total"]["accepted"] == 2_000
        assert query(url, "select count(*) from staging.raw_events") == [(2_000,)]
    server.stop()
    shutil.rmtree(home)


def stop_at_once(cluster: Path) -> None:
    """Stop a server as `pg_ctl stop -m immediate` does: as if the machine went down."""
    pid_file = cluster / "postmaster.pid"
    os.kill(int(pid_file.read_text().split()[0]), signal.SIGQUIT)
    until(lambda: not pid_file.exists())


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A disk of 20 MiB."""
    directory = Path(tempfile.mkdtemp(prefix="wh-"))
    mounted = mount("-t", "tmpfs", "-o", "size=20m", "tmpfs", directory)
    if mounted.returncode:
        directory.rmdir()
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    yield directory
    subprocess.run([str(shutil.which("umount")), str(directory)], check=True)
    directory.rmdir()


def mount(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [shutil.which("mount") or "mount", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_full_disk_breaks_the_load_off_and_with_room_it_goes_on(
    own_server: Server, small_disk: Path, tmp_path: Path
) -> None:
    admin = own_server.url("postgres")
    owner = (own_server.home / "pg18").stat()
    tablespace = small_disk / "tablespace"
    tablespace.mkdir(mode=0o700)
    os.chown(tablespace, owner.st_uid, owner.st_gid)
    query(admin, f"create tablespace small location '{tablespace}'")
    query(admin, "create database on_small_disk template warehouse_template tablespace small")
    url = own_server.url("on_small_disk")
    path = tmp_path / "events.ndjson"
    lines = 3_000
    # What does not compress.
    fill = [secrets.token_urlsafe(6_000) for _ in range(lines)]
    path.write_bytes(b"".join(line(n, properties={"x": x}) for n, x in enumerate(fill)))
    try:
        # A server whose disk is full may refuse a new connection.
        with own_server.environment(url), psycopg.connect(url, autocommit=True) as before:
            assert_failed(run("load", path), str(path), "No space left", "same command again")
            ((committed, accepted),) = rows(
                before, "select count(*), sum(accepted)::int from staging.event_batches"
            )
            assert 0 < committed < lines / CHUNK_LINES
            assert rows(before, "select count(*) from staging.raw_events") == [(accepted,)]
            assert mount("-o", "remount,size=256m", small_disk).returncode == 0
            answer = load(path)
            assert answer["files"][0]["resumed_at_line"] == accepted + 1
            assert answer["total"]["accepted"] == lines
            assert query(url, "select count(*) from staging.raw_events") == [(lines,)]
    finally:
        query(admin, "drop database on_small_disk with (force)")
        query(admin, "drop tablespace small")


@pytest.mark.deep
def test_a_disk_too_small_for_the_first_set_up_is_reported_and_with_room_it_is_made(
    small_disk: Path,
) -> None:
    with settings_of(small_disk / "home", 18, None):
        assert_failed(run("init"), str(small_disk), "No space left")
        assert mount("-o", "remount,size=512m", small_disk).returncode == 0
        assert run("init").code == 0
        embedded.stop()


def test_messages_fit_the_form_that_people_know(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(b"".join(GOOD))
    finished = run("load", path)
    assert (finished.code, finished.errors) == (0, "")
    assert re.search(
        r"source +received +accepted +duplicates +suppressed +rejected", finished.output
    )
    assert re.search(r"events\.ndjson +2 +2 +0 +0 +0", finished.output)
