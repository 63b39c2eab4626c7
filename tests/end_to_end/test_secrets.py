"""What must stay in the database stays there: passwords, and people's data."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.conftest import WAREHOUSE, Server
from tests.support.lines import event
from warehouse import database
from warehouse.settings import settings

PASSWORD = "planted%2Fpass%3Aword"  # noqa: S105
# As it stands in the URL, and as it is.
PLANTED = (
    PASSWORD, "planted/pass:word", "planted.person@example.com", "203.0.113.199",
    "planted words of a question", "planted-lead",
)  # fmt: skip


def planted_events() -> list[dict[str, Any]]:
    """A question, its rating and a lead, all of one person, in lines that land and that do not."""
    actor = {"client_id": "acme", "user_id": PLANTED[2], "lead_id": PLANTED[5]}
    context = {"source": "api", "ip": PLANTED[3], "user_agent": "Mozilla/5.0"}
    sent = [
        ("chat", {"message_id": "m1", "error_message": PLANTED[4]}),
        ("chat_feedback", {"message_id": "m1", "rating": 5, "text": PLANTED[4]}),
        ("lead_created", {"source": "web_form"}),
        ("chat", {"message_id": "m2", "tokens_prompt": PLANTED[4]}),
        (PLANTED[4], {}),
        ("revenue", {"type": PLANTED[4], "amount_usd": 1}),
    ]
    return [
        event(n, event=name, actor=actor, context=context, properties=properties)
        for n, (name, properties) in enumerate(sent)
    ]


@pytest.fixture
def planted(
    servers: Callable[[int], Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> psycopg.Connection:
    """A fresh warehouse, a home of its own, and a URL with a password in it."""
    server = servers(18)
    url = server.new_database()
    with psycopg.connect(url, autocommit=True) as connection:
        monkeypatch.setenv("WAREHOUSE_HOME", str(tmp_path / "home"))
        monkeypatch.delenv("WAREHOUSE_DATABASE_URL", raising=False)
        monkeypatch.delenv("DBT_LOG_LEVEL", raising=False)
        secret = tmp_path / "url"
        secret.write_text(url.replace("postgres@", f"postgres:{PASSWORD}@") + "\n")
        monkeypatch.setenv("WAREHOUSE_DATABASE_URL_FILE", str(secret))
        yield connection
    server.drop_database(url)


def run(*arguments: object) -> tuple[int, str]:
    """Run the command; return its code and all that it said."""
    done = subprocess.run(
        [*WAREHOUSE, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300,
    )  # fmt: skip
    assert not [word for word in PLANTED if word in done.stdout], done.stdout
    return done.returncode, done.stdout


def done(*arguments: object) -> None:
    code, said = run(*arguments)
    assert code == 0, said


def leaks(folder: Path) -> list[tuple[str, str]]:
    return [
        (str(path.relative_to(folder)), word)
        for path in folder.rglob("*")
        if path.is_file()
        for word in PLANTED
        if word.encode() in path.read_bytes()
    ]


@pytest.mark.deep
def test_passwords_and_personal_data_reach_no_file_and_no_terminal(
    planted: psycopg.Connection, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    events = tmp_path / "events.ndjson"
    events.write_text("".join(json.dumps(event) + "\n" for event in planted_events()))

    # A load that breaks off in the middle, then one that does not.
    planted.execute(
        "alter table staging.raw_events "
        "add constraint planted check (actor ->> 'client_id' <> 'acme')"
    )
    code, said = run("load", events)
    assert (code, "violates check constraint" in said) == (1, True)
    (noted,) = planted.execute("select error from staging.loads").fetchone()
    assert "planted" in noted
    assert not [word for word in PLANTED if word in noted]
    planted.execute("alter table staging.raw_events drop constraint planted")
    code, said = run("load", events)
    assert (code, "rejected" in said) == (0, True)
    assert planted.execute("select count(*) from staging.rejected_events").fetchone() == (3,)
    done("rejected", "list")
    users = tmp_path / "users.csv"
    now = "2026-01-01T00:00:00Z"
    users.write_text(f"user_id,created_at,updated_at\n{PLANTED[2]},{now},{now}\n")
    planted.execute("alter table staging.users add constraint planted check (role is not null)")
    code, said = run("load-entities", "users", users)
    assert (code, "violates check constraint" in said) == (1, True)

    select = ("--select", "+user_daily_usage +int_platform_stats mart_status")
    done("build", *select)
    done("check", "--docs")
    done("status")

    # Builds that fail over what rows hold: as by a constraint, and by a cast. (A real constraint
    # that the model does not declare is dropped by the build.)
    planted.execute(
        "create function public.check_it() returns trigger language plpgsql as "
        "'begin raise check_violation using message = ''violates check constraint'', "
        "detail = new.user_id; end'"
    )
    planted.execute(
        "create trigger planted before insert on marts.user_daily_usage "
        "for each row execute function public.check_it()"
    )
    # A rebuild writes only what differs.
    planted.execute("truncate marts.user_daily_usage")
    code, said = run("build", "--full-refresh", *select)
    assert (code, "violates check constraint" in said) == (1, True)
    planted.execute("drop trigger planted on marts.user_daily_usage")
    planted.execute(
        "create function public.cast_it() returns trigger language plpgsql as "
        "'begin perform new.user_id::int; return new; end'"
    )
    planted.execute(
        "create trigger planted before insert on marts.user_daily_usage "
        "for each row execute function public.cast_it()"
    )
    code, said = run("build", "--full-refresh", *select)
    assert (code, "a value does not fit" in said) == (1, True)

    # The same by dbt itself, as Dagster runs it.
    exports = subprocess.run(
        [*WAREHOUSE, "environment"], capture_output=True, text=True, check=True
    ).stdout
    bare = subprocess.run(
        ["bash", "-c", 'eval "$EXPORTS"; exec "$DBT" build --full-refresh -s user_daily_usage'],  # noqa: S607
        env=os.environ | {"EXPORTS": exports, "DBT": str(Path(sys.executable).with_name("dbt"))},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert (bare.returncode, "a value does not fit" in bare.stdout) == (1, True), bare.stdout
    assert not [word for word in PLANTED if word in bare.stdout + bare.stderr]

    written = {path.suffix for path in home.rglob("*") if path.is_file()}
    assert written >= {".json", ".log", ".sql", ".html"}, "artifacts, logs and Data Docs"
    assert leaks(home) == []
    # It would have been found.
    (home / "found").write_text(PLANTED[2])
    assert leaks(home) == [("found", PLANTED[2])]


@pytest.mark.deep
def test_who_is_erased_stands_in_no_file_and_no_list_of_processes(
    planted: psycopg.Connection, tmp_path: Path
) -> None:
    home, user = tmp_path / "home", PLANTED[2]
    events = tmp_path / "events.ndjson"
    events.write_text("".join(json.dumps(event) + "\n" for event in planted_events()))
    done("load", events)
    done("build", "--select", "+user_daily_usage")
    erasing = subprocess.Popen(
        [*WAREHOUSE, "erase", "--user-id", "-", "--json"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert erasing.stdin
    erasing.stdin.write(f"{user}\n".encode())
    erasing.stdin.close()
    looks = 0
    while erasing.poll() is None:
        looks += 1
        assert shown_by_processes(user) == []
    output, said = erasing.stdout.read().decode(), erasing.stderr.read().decode()
    assert json.loads(output)["state"] == "verified", said
    assert looks > 3
    assert not [word for word in PLANTED if word in output + said]
    assert [leak for leak in leaks(home) if leak[1] == user] == []
    assert (home / "dbt" / "run_results.json").exists()

    # Named by an argument it is erased all the same, and stays in no file.
    code, said = run_naming("erase", "--user-id", user, "--json")
    assert (code, "the list of processes shows who is erased" in said) == (0, True)
    assert [leak for leak in leaks(home) if leak[1] == user] == []


def shown_by_processes(word: str) -> list[str]:
    """The processes of the machine that show a word in their arguments or environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                if word.encode() in (process / name).read_bytes():
                    found.append(f"{process.name} {name}")
            except OSError:
                continue
    return found


def run_naming(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [*WAREHOUSE, *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300,
    )  # fmt: skip
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("given", "arguments", "said"),
    [
        (b"", ["--user-id", "-"], "expected one line on standard input, got none"),
        (b"\n", ["--user-id", "-"], "expected one line on standard input, got none"),
        (b"ann\nbob\n", ["--user-id", "-"], "expected one line on standard input, got several"),
        (b"\xff\n", ["--user-id", "-"], "standard input is not UTF-8 text"),
        (b"ann\n", ["--lead-id", "-", "--client-id", "-"], "--lead-id and --client-id can't both"),
        (b"ann\n", ["--user-id", "-", "--by", "-"], "--user-id and --by can't both be read"),
    ],
)
def test_what_is_no_name_on_standard_input_is_wrong_usage(
    given: bytes, arguments: list[str], said: str
) -> None:
    refused = subprocess.run(
        [*WAREHOUSE, "erase", *arguments], input=given, capture_output=True, timeout=60
    )
    # Typer breaks lines in a frame.
    message = " ".join(refused.stderr.decode().replace("│", " ").split())
    assert (refused.returncode, refused.stdout, said in message) == (2, b"", True), message


def test_a_url_comes_from_a_file_that_is_named_or_a_clear_sentence(
    planted: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.cache_clear()
    try:
        with database.connect() as connection:
            assert connection.info.dbname == planted.info.dbname
        assert not database.is_embedded()
        assert PASSWORD not in repr(settings())
    finally:
        settings.cache_clear()
    monkeypatch.setenv("WAREHOUSE_DATABASE_URL_FILE", str(tmp_path / "nowhere"))
    code, said = run("status")
    assert code == 1
    assert said.startswith("warehouse: WAREHOUSE_DATABASE_URL_FILE can't be read: No such file")
    (tmp_path / "url").write_bytes(b"postgresql://caf\xe9")
    monkeypatch.setenv("WAREHOUSE_DATABASE_URL_FILE", str(tmp_path / "url"))
    code, said = run("status")
    assert (code, said.count("\n"), "it is not UTF-8 text" in said) == (1, 1, True)
