"""`warehouse pull`: rows of an operational database become events and entities, each once."""

from __future__ import annotations

import json
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from ingestion.contract.validator import NAMESPACE
from ingestion.load import chunks
from ingestion.privacy.suppression import Subject, SubjectKind
from ingestion.sources.postgres import session, stream
from orchestration.operations.erase import erase
from tests.conftest import ON_16, Server, settings_of
from tests.support.lines import contents, rows, value
from tests.support.processes import CHUNK_LINES, batches, finish, held, kill, run, start, until
from tests.support.sources import TABLES, compared, events, pull, source_of
from warehouse import embedded

NONE = timedelta(0)


@pytest.fixture
def shop(
    warehouse: psycopg.Connection,
    servers: Callable[[int], Server],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Iterator[psycopg.Connection]:
    """Give a connection to an operational database that is declared as the source `shop`."""
    server = servers(getattr(request, "param", 18))
    url = server.new_database("template0")
    with psycopg.connect(url, autocommit=True) as connection, source_of(tmp_path, url):
        connection.execute(TABLES)
        yield connection
    server.drop_database(url)


@pytest.fixture
def source_folder(tmp_path: Path) -> Path:
    """Give the folder of the source `shop`."""
    return tmp_path / "shop"


def add(shop: psycopg.Connection, count: int = 1, at: str = "now()") -> None:
    shop.execute(
        "insert into messages (client_id, lead_id, updated_at) "  # noqa: S608
        f"select 'acme', 'lead-' || n, {at} from generate_series(1, {count}) as n"
    )


@pytest.mark.parametrize("shop", [ON_16, 18], indirect=True)
def test_a_row_is_one_event_with_an_identity_of_its_own(
    warehouse: psycopg.Connection, shop: psycopg.Connection
) -> None:
    add(shop, at="'2026-11-01T10:00:00.5+02'")
    assert pull()["messages"].counts.accepted == 1
    assert pull()["messages"].counts.accepted == 0
    ((event_id, context, properties),) = rows(
        warehouse, "select event_id, context, properties from staging.raw_events"
    )
    name = "shop/messages message 2026-11-01 08:00:00.5+00 1"
    assert event_id == uuid.uuid5(NAMESPACE, name)
    assert context == {"row": "1"}
    assert properties == {"direction": "inbound", "sender_type": "lead"}
    assert value(warehouse, "select count(*) from staging.unknown_members") == 0


def test_a_pull_is_a_load_with_the_name_of_its_stream(
    warehouse: psycopg.Connection, shop: psycopg.Connection
) -> None:
    add(shop, 3)
    shop.execute("insert into accounts values ('acme', 'Acme')")
    pull()
    assert rows(warehouse, "select kind, source, state from staging.loads order by load_id") == [
        ("clients", "shop/accounts", "finished"),
        ("events", "shop/messages", "finished"),
    ]
    assert rows(
        warehouse, "select source, accepted from staging.event_batches order by batch_seq"
    ) == [("shop/accounts", 1), ("shop/messages", 3)]
    assert rows(warehouse, "select client_id, name from staging.clients") == [("acme", "Acme")]
    assert pull()["accounts"].counts.duplicates == 1
    shop.execute("update accounts set name = 'Acme Ltd', updated_at = now()")
    assert pull()["accounts"].counts.accepted == 1
    assert value(warehouse, "select name from staging.clients") == "Acme Ltd"


def test_a_row_that_commits_late_is_not_missed(
    warehouse: psycopg.Connection, shop: psycopg.Connection
) -> None:
    with psycopg.connect(shop.info.dsn) as late:
        add(late)
        add(shop, 2)
        assert pull(overlap=NONE)["messages"].counts.accepted == 2
        add(shop)
        assert pull(overlap=NONE)["messages"].counts.accepted == 1
        late.commit()
    assert pull(overlap=NONE)["messages"].counts.accepted == 1
    assert pull(overlap=NONE)["messages"].counts.received == 0
    assert len(events(warehouse)) == 4


@pytest.mark.parametrize("before_asking", [True, False])
def test_a_row_that_commits_while_a_pull_begins_is_not_missed(
    warehouse: psycopg.Connection,
    shop: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    before_asking: bool,
) -> None:
    ask = session._open_transactions
    with psycopg.connect(shop.info.dsn) as late:
        add(late)

        def ask_and_commit(*arguments: Any) -> Any:
            if before_asking:
                late.commit()
            answer = ask(*arguments)
            late.commit()
            return answer

        with monkeypatch.context() as patch:
            patch.setattr(session, "_open_transactions", ask_and_commit)
            pull(overlap=NONE)
    pull(overlap=NONE)
    assert len(events(warehouse)) == 1


def test_a_row_that_changes_is_another_event_at_its_new_time(
    warehouse: psycopg.Connection, shop: psycopg.Connection
) -> None:
    add(shop)
    pull()
    shop.execute("update messages set direction = 'outbound', updated_at = now()")
    assert pull()["messages"].counts.accepted == 1
    assert [key for key, _ in events(warehouse)] == ["1", "1"]


@pytest.mark.parametrize("shop", [ON_16, 18], indirect=True)
def test_keys_and_texts_of_any_kind_arrive_as_they_are(
    warehouse: psycopg.Connection, shop: psycopg.Connection, source_folder: Path
) -> None:
    keys = ["a 'b\"", "zwei\nzeilen\t", "\x01\x02", "é🙂", "\\\\.", "", "%s {}"]
    shop.execute("create table notes (id text primary key, extra json)")
    with shop.cursor() as cursor:
        extra = '{\n "a":\t"\\\\ \\u0001" }'
        cursor.executemany("insert into notes values (%s, %s)", [(key, extra) for key in keys])
    (source_folder / "notes.sql").write_text(
        """select id as key, 'signup' as event, timestamptz '2026-05-05 05:05Z' as "timestamp",
        json_build_object('client_id', 'acme', 'user_id', '%s {}') as actor, extra as properties,
        null::json as context from notes where 'a :since' <> ':until' /* :since */ -- :until"""
    )
    assert pull()["notes"].counts.accepted == len(keys)
    assert pull()["notes"].counts.duplicates == len(keys)
    assert {key for key, _ in events(warehouse)} == set(keys)
    assert rows(warehouse, "select distinct properties from staging.raw_events") == [
        ({"a": "\\ \x01"},)
    ]


def test_rows_without_a_key_differ_by_their_content(
    warehouse: psycopg.Connection, shop: psycopg.Connection, source_folder: Path
) -> None:
    text = (source_folder / "messages.sql").read_text()
    (source_folder / "messages.sql").write_text(text.replace("id as key", "null as key"))
    add(shop, 3)
    assert pull()["messages"].counts.accepted == 3
    assert pull()["messages"].counts.duplicates == 3


def test_a_full_pull_reads_everything_and_finds_duplicates(
    warehouse: psycopg.Connection, shop: psycopg.Connection
) -> None:
    add(shop, 5, at="now() - interval '1 day'")
    pull()
    assert pull()["messages"].counts.received == 0
    assert pull(full=True)["messages"].counts.duplicates == 5


def test_a_dry_run_shows_what_a_pull_would_take_and_writes_nothing(
    warehouse: psycopg.Connection, shop: psycopg.Connection
) -> None:
    add(shop, 5)
    shop.execute("insert into accounts values ('acme', 'Acme'), ('birch', '')")
    before = contents(warehouse)
    finished = run("pull", "shop", "--dry-run", "--json")
    assert (finished.code, finished.errors) == (0, "")
    accounts, messages = finished.answer["streams"]
    assert (accounts["counts"]["accepted"], messages["counts"]["accepted"]) == (2, 5)
    assert [len(one["envelopes"]) for one in (accounts, messages)] == [2, 3]
    assert json.loads(messages["envelopes"][0])["event"] == "message"
    assert contents(warehouse) == before
    assert rows(warehouse, "select * from staging.source_cursors") == []
    pull()
    again = run("pull", "shop", "--dry-run", "--json").answer["streams"]
    assert [one["counts"]["duplicates"] for one in again] == [2, 5]


@pytest.mark.parametrize("shop", [ON_16, 18], indirect=True)
def test_compare_finds_what_was_missed_and_what_was_deleted_there(
    warehouse: psycopg.Connection, shop: psycopg.Connection
) -> None:
    add(shop, 10)
    shop.execute("insert into accounts values ('acme', 'Acme'), ('birch', 'Birch'), ('oak', '')")
    pull()
    assert all((one.missed, one.deleted) == (0, 0) for one in compared().values())
    # Changed and not pulled yet, changed and pulled, deleted, and lost here.
    shop.execute("update messages set updated_at = now() where id = 1")
    pull()
    shop.execute("update messages set updated_at = now() where id in (1, 2)")
    shop.execute("delete from messages where id in (3, 4)")
    shop.execute("delete from accounts where id = 'oak'")
    warehouse.execute("delete from staging.raw_events where context ->> 'row' = '5'")
    warehouse.execute("delete from staging.clients where client_id = 'birch'")
    found = compared()
    assert (found["messages"].deleted_keys, found["messages"].missed_keys) == (["3", "4"], ["5"])
    assert (found["accounts"].deleted_keys, found["accounts"].missed_keys) == (["oak"], ["birch"])
    finished = run("pull", "shop", "--compare", "1h")
    assert finished.code == 0
    assert "Deleted there of messages: 3, 4" in finished.errors
    add(shop)
    assert compared()["messages"].missed == 1


def test_nothing_but_what_the_select_names_leaves_the_source(
    warehouse: psycopg.Connection, shop: psycopg.Connection
) -> None:
    add(shop)
    pull()
    assert "private words" not in repr(contents(warehouse))


def test_an_erased_lead_does_not_come_back_by_a_pull(
    warehouse: psycopg.Connection, shop: psycopg.Connection
) -> None:
    add(shop, 3)
    shop.execute("insert into accounts values ('lead-2', 'someone')")
    pull()
    erase(Subject(SubjectKind.LEAD, "lead-2"), "a test")
    pulled = pull(full=True)
    assert pulled["messages"].counts.suppressed_erased == 1
    assert {key for key, _ in events(warehouse)} == {"1", "3"}
    assert compared()["messages"].missed == 0


def test_what_fails_says_why_in_one_sentence_and_the_others_go_on(
    warehouse: psycopg.Connection,
    shop: psycopg.Connection,
    source_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    breaks = {
        "dropped": ("drop column direction", 'column "direction" does not exist'),
        "gone": ("rename to letters", 'relation "gone" does not exist'),
        "zoneless": ("alter updated_at type timestamp", "as timestamp, not as timestamptz"),
        "retyped": ("alter updated_at type text", "a type in the source has changed"),
    }
    stream = (source_folder / "messages.sql").read_text()
    with reader_of(shop) as url:
        for table, (change, _) in breaks.items():
            shop.execute(f"create table {table} (like messages including all)")
            shop.execute("grant select on all tables in schema public to reader")
            (source_folder / f"{table}.sql").write_text(stream.replace("messages", table))
            shop.execute(f"alter table {table} {change}")
        shop.execute("revoke select on messages from reader")
        shop.execute("insert into accounts values ('acme', 'Acme')")
        monkeypatch.setenv("SHOP_URL", url)
        finished = run("pull", "shop", "--json")
    assert finished.code == 1
    assert value(warehouse, "select count(*) from staging.clients") == 1
    assert rows(warehouse, "select stream from staging.source_cursors") == [("accounts",)]
    _, *errors = [json.loads(line)["error"] for line in finished.errors.splitlines()]
    known = rows(
        warehouse,
        "select split_part(source, '/', 2), error from staging.loads where state = 'abandoned'",
    )
    assert sorted(errors) == sorted(error for _, error in known)
    sentences = {"messages": "may not read it"} | {name: why for name, (_, why) in breaks.items()}
    assert dict(known).keys() == sentences.keys()
    for name, error in known:
        assert sentences[name] in error, name


STREAM = """select id as key, 'signup' as event, updated_at as "timestamp",
jsonb_build_object('client_id', client_id) as actor from messages"""
NO_ZONE = STREAM.replace("updated_at as", "now()::timestamp as")
TEXT_ACTOR = STREAM.replace("jsonb_build_object('client_id', client_id)", "client_id")
WRONG = {
    "selec 1": "syntax error",
    "delete from messages returning 1": "syntax error",
    STREAM.replace("id as key, ", ""): "returns no column 'key' (the primary key of its row)",
    STREAM.replace("from", ", 1 as note from"): "the column 'note', which an event does not have",
    NO_ZONE: "as timestamp, not as timestamptz",
    TEXT_ACTOR: "not as jsonb",
    "select 1 as one": "returns neither the columns of an event",
    "select 1 as client_id, now() as created_at, now() as updated_at": "as int4, not as text",
    STREAM + " where 1 / (id - id) = 1": "a value does not fit (DivisionByZero",
    STREAM.replace("signup", "sign_in"): "all of its 2 rows were rejected",
}


def test_a_wrong_select_says_what_is_wrong_with_it(
    warehouse: psycopg.Connection, shop: psycopg.Connection, source_folder: Path
) -> None:
    add(shop, 2)
    for number, text in enumerate(WRONG):
        (source_folder / f"wrong_{number}.sql").write_text(text)
    pulled = pull()
    for number, sentence in enumerate(WRONG.values()):
        name = f"wrong_{number}"
        assert sentence in (pulled[name].error or ""), name
        assert name in pulled[name].error
    assert pulled["messages"].counts.accepted == 2
    loads = "select count(*) from staging.loads where starts_with(source, 'shop/wrong')"
    assert value(warehouse, loads) == len(WRONG)


def test_a_source_that_is_away_is_one_sentence_and_in_the_ledger(
    warehouse: psycopg.Connection, shop: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_URL", "postgresql://someone:secret@127.0.0.1:1/shop")
    finished = run("pull", "shop")
    assert finished.code == 1
    assert finished.errors.startswith(
        "warehouse: The source shop at 127.0.0.1:1/shop can't be reached:"
    )
    assert "secret" not in finished.errors
    ((source, state),) = rows(warehouse, "select source, state from staging.loads")
    assert (source, state) == ("shop", "abandoned")
    monkeypatch.delenv("SHOP_URL")
    assert "set SHOP_URL to its libpq URL" in run("pull", "shop").errors
    assert "the sources are crm, shop" in run("pull", "nowhere").errors


def test_a_lock_or_a_slow_statement_in_the_source_stops_its_stream_alone(
    warehouse: psycopg.Connection, shop: psycopg.Connection, source_folder: Path
) -> None:
    (source_folder / "source.yml").write_text(
        "{url_variable: SHOP_URL, lock_timeout_seconds: 1, statement_timeout_seconds: 2}"
    )
    slow = (source_folder / "messages.sql").read_text().replace("messages", "slow, pg_sleep(9)")
    (source_folder / "slow.sql").write_text(slow)
    shop.execute("create table slow (like messages)")
    shop.execute("insert into slow overriding system value values (1, 'a', 'b', '', '', now())")
    add(shop)
    with psycopg.connect(shop.info.dsn) as locker:
        locker.execute("lock table messages in access exclusive mode")
        pulled = pull()
    assert "another session of the source locks the table" in pulled["messages"].error
    assert "the source canceled the statement" in pulled["slow"].error
    assert pulled["accounts"].error is None
    assert pull()["messages"].counts.accepted == 1


def test_a_login_that_does_not_see_transactions_gets_a_warning_and_reads_further_back(
    warehouse: psycopg.Connection, shop: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(shop)
    with reader_of(shop) as url:
        monkeypatch.setenv("SHOP_URL", url)
        finished = run("pull", "shop")
        assert finished.code == 0
        assert "may not see all open transactions" in finished.errors
        ((back,),) = rows(
            warehouse, "select distinct asked_at - open_since from staging.source_cursors"
        )
        assert back == timedelta(hours=1)
        shop.execute("grant pg_read_all_stats to reader")
        assert run("pull", "shop").errors == ""


@pytest.mark.parametrize("chunk", [0, 7])
def test_a_pull_that_is_killed_loses_nothing(
    warehouse: psycopg.Connection, shop: psycopg.Connection, chunk: int
) -> None:
    add(shop, 10 * CHUNK_LINES)
    when = f"new.chunk = {chunk} and new.kind = 'events'"
    trigger = f"before insert on staging.event_batches for each row when ({when})"
    with held(warehouse, trigger) as is_waiting:
        process = start("pull", "shop")
        until(is_waiting)
        kill(process)
    assert batches(warehouse) == chunk
    assert rows(warehouse, "select stream from staging.source_cursors") == [("accounts",)]
    assert run("pull", "shop").code == 0
    assert len(events(warehouse)) == 10 * CHUNK_LINES
    assert rows(
        warehouse,
        "select state from staging.loads where source = 'shop/messages' order by load_id",
    ) == [("abandoned",), ("finished",)]


def test_a_stream_that_fails_midway_moves_no_cursor(
    warehouse: psycopg.Connection,
    shop: psycopg.Connection,
    source_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chunks, "CHUNK_LINES", 20)
    monkeypatch.setattr(stream, "BLOCK", 1_000)
    add(shop, 200)
    text = (source_folder / "messages.sql").read_text()
    broken = text.replace("'sender_type', 'lead'", "'sender_type', 'lead', 'n', 1 / (190 - id)")
    (source_folder / "messages.sql").write_text(broken)
    assert "DivisionByZero" in pull()["messages"].error
    assert 100 < len(events(warehouse)) < 190
    assert rows(warehouse, "select stream from staging.source_cursors") == [("accounts",)]
    (source_folder / "messages.sql").write_text(text)
    assert pull()["messages"].counts.received == 200
    assert len(events(warehouse)) == 200


def test_a_warehouse_that_fails_in_the_middle_is_one_sentence_and_moves_no_cursor(
    warehouse: psycopg.Connection, shop: psycopg.Connection
) -> None:
    add(shop, 10 * CHUNK_LINES)
    when = "new.chunk = 3 and new.kind = 'events'"
    trigger = f"before insert on staging.event_batches for each row when ({when})"
    with held(warehouse, trigger) as is_waiting:
        process = start("pull", "shop")
        until(is_waiting)
        warehouse.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where datname = current_database() and wait_event_type = 'Lock'"
        )
        finished = finish(process)
    assert finished.code == 1
    assert finished.errors.startswith("warehouse: The load of shop/messages was interrupted: ")
    assert len(finished.errors.splitlines()) == 1
    assert rows(warehouse, "select stream from staging.source_cursors") == [("accounts",)]
    assert pull()["messages"].counts.received == 10 * CHUNK_LINES
    assert len(events(warehouse)) == 10 * CHUNK_LINES


@pytest.mark.deep
def test_what_was_prepared_is_not_missed_however_late_it_commits(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    home = Path(tempfile.mkdtemp(prefix="wh-"))
    # A server of its own, for the setting needs a restart.
    with settings_of(home, 18, None):
        embedded.start()
        url = embedded.url()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("alter system set max_prepared_transactions = 2")
        embedded.stop()
        embedded.start()
    try:
        with source_of(tmp_path, url), psycopg.connect(url, autocommit=True) as shop:
            shop.execute(TABLES)
            assert pull(overlap=NONE)["messages"].counts.received == 0
            shop.execute("begin")
            add(shop)
            assert pull(overlap=NONE)["messages"].counts.received == 0
            shop.execute("prepare transaction 'late'")
            for _ in range(3):
                add(shop)
                pull(overlap=NONE)
            shop.execute("commit prepared 'late'")
            pull(overlap=NONE)
            assert len(events(warehouse)) == 4
            assert pull(overlap=NONE)["messages"].counts.received == 0
    finally:
        with settings_of(home, 18, None):
            embedded.stop()
        shutil.rmtree(home)


@contextmanager
def reader_of(shop: psycopg.Connection) -> Iterator[str]:
    """Give the URL of a login that may only read, while another session is open."""
    shop.execute("create role reader login")
    shop.execute("grant select on all tables in schema public to reader")
    try:
        parts = conninfo_to_dict(shop.info.dsn)
        yield f"postgresql://reader@/{parts['dbname']}?host={parts['host']}"
    finally:
        shop.execute("drop owned by reader; drop role reader")
