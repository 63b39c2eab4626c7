"""An erased subject is nowhere any more, and does not come back."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from ingestion.load.loader import load
from ingestion.privacy.suppression import Subject, SubjectKind
from ingestion.sources.files import open_source
from orchestration.operations import erase as erasing
from orchestration.operations.build import BuildError, BuildOptions, build
from orchestration.operations.erase import EraseError, erase
from tests.conftest import DEEP
from tests.support.building import build_at, land, land_entities, rows_of_models
from tests.support.erasing import (
    AS_OF,
    BROKEN,
    DAY,
    ENTITIES,
    FLAT,
    MINUTE,
    SUBJECTS,
    UNPARSABLE,
    a_template,
    is_of,
    stream,
    unexplained,
    whole_file,
)
from tests.support.killed_builds import blocked_at, start_command
from tests.support.lines import event, line, rows, value
from tests.support.people import HOSTILE
from tests.support.processes import CHUNK_LINES, finish, held, kill, release, run, start, until
from warehouse import database, key_store
from warehouse.keys import KeyKind, KnownKeys
from warehouse.schema.access import roles
from warehouse.schema.migrate import migrate
from warehouse.settings import settings


@pytest.fixture(scope="module")
def smalls(servers, tmp_path_factory):
    only = ["revenue_daily", "revenue_events", "chat_events", "ingest_reconciliation_daily"]
    yield from a_template(servers(18), tmp_path_factory.mktemp("landed"), only)


@pytest.fixture
def small(smalls) -> Iterator[psycopg.Connection]:
    """A warehouse with a few models built, which takes seconds."""
    with smalls() as connection:
        yield connection


@pytest.mark.parametrize("name", ["user", DEEP("client"), DEEP("lead of a client")])
def test_an_erased_subject_is_nowhere_and_does_not_come_back(
    small: psycopg.Connection, tmp_path: Path, name: str
) -> None:
    subject = SUBJECTS[name]
    before = places_of(small, subject)
    assert "staging.raw_events" in before
    would_go = erase(subject, "dpo", dry_run=True)
    assert places_of(small, subject) == before
    assert value(small, "select count(*) from warehouse.erasures") == 0

    exported(small)
    receipt = erase(subject, "dpo")
    assert (would_go.export_is_due, receipt.export_is_due) == (False, True)
    assert receipt.removed == would_go.removed
    assert before <= receipt.removed.keys()
    assert places_of(small, subject) == set()

    lines = [*stream(), *BROKEN, FLAT]
    of_subject = sum(is_of(line, subject) for line in lines)
    of_subject += sum(subject.identifier.encode() in line for line in UNPARSABLE)
    counts = load(open_source(str(whole_file(tmp_path)))).counts
    assert counts.suppressed_erased == counts.suppressed == of_subject
    assert counts.received == counts.duplicates + counts.suppressed + counts.rejected
    for kind, entity_rows in ENTITIES.items():
        counts = land_entities(tmp_path, kind, entity_rows)
        assert counts.suppressed == sum(is_of(row, subject) for row in entity_rows)
    build_at(AS_OF)
    assert places_of(small, subject) == set()
    assert unexplained(small) == 0


def exported(connection: psycopg.Connection) -> None:
    """Have a row exported from the last batch that there is."""
    connection.execute(
        "insert into warehouse.exports (target, state, build, batch_seq, checked_at, active_users, "
        "questions_answered, pdf_downloads, updated_at) "
        "select 'warehouse', 'done', 'a build', max(batch_seq), now(), 0, 0, 0, now() "
        "from staging.event_batches"
    )


def test_what_people_did_about_alerts_names_nobody_who_is_erased(
    small: psycopg.Connection,
) -> None:
    of_user = f"usage-2025-03-80-{sha256(b'user-ann').hexdigest()[:16]}"
    of_another = f"usage-2025-03-80-{sha256(b'user-bob').hexdigest()[:16]}"
    small.cursor().executemany(
        "insert into warehouse.alert_actions (alert_id, action, taken_by) values (%s, %s, %s)",
        [(of_user, "resolved", "zoe"), (of_another, "resolved", "user-ann")],
    )
    receipt = erase(SUBJECTS["user"], "user-ann")
    assert receipt.removed["warehouse.alert_actions"] == 1
    query = "select alert_id, taken_by from warehouse.alert_actions"
    assert rows(small, query) == [(of_another, "(erased)")]
    assert value(small, "select requested_by from warehouse.erasures") == "(erased)"


# Emptied before the search, unless another erasure is under way.
TRANSIENT = {"warehouse.erased_rows"}
ONE_OF_EACH = """
    insert into warehouse.tenants values ('app', 'c', 'u');
    insert into warehouse.keys
    (key_id, kind, digest, client_id, origins, role_name, name, per_minute)
    values
        ('1', 'browser', sha256('1'), 'c', '{http://c}', null, 'n', 1),
        ('2', 'read', sha256('2'), null, '{}', 'app', null, 1);
    insert into warehouse.exports (target, reason, accepted_by, build, batch_seq, checked_at,
        active_users, questions_answered, pdf_downloads, updated_at)
    values ('t', 'r', 'a', 'b', 1, now(), 1, 1, 1, now());
    insert into warehouse.run_events values ('r', 'run_failed', 'j', now(), 'd');
    insert into warehouse.alert_actions (alert_id, action, taken_by) values ('x', 'resolved', 't');
    insert into warehouse.restatements (mart, client_id, period, old_values, new_values, cause, run)
    values ('m', 'c', 'p', '{}', '{}', 'rebuild', 'r');
    insert into warehouse.erasures (kind, is_of_one_client, subject_hash, requested_by)
    values ('user_id', false, '', 'r');
    insert into staging.used_sequences (batch_seq, producer, "sequence", day)
    values (1, 'p', 1, '2025-01-01');
    insert into staging.units values ('u', 'd', 'c', now(), '{}', 1);
    insert into staging.documents values ('d', 't', 'c', 'z', 'z', now(), '{}', 1);
"""


def test_no_column_that_may_name_a_subject_is_forgotten(small: psycopg.Connection) -> None:
    small.execute(ONE_OF_EACH)
    zoe = 'zoe\'s \\ "own"'
    in_text, in_json = zoe, json.dumps({"by": [zoe]})
    left_out = TRANSIENT | set(value(small, "select warehouse.names_nobody()"))
    all_columns = columns_of(small)
    places = {f"{schema}.{table}" for schema, table, _, _ in all_columns}
    assert left_out <= places | {".".join(one[:3]) for one in all_columns}
    columns = [
        (schema, table, column, kind)
        for schema, table, column, kind in all_columns
        if schema in ("staging", "warehouse", "export")
        and kind in ("text", "name", "jsonb", "ARRAY")
        and not left_out & {f"{schema}.{table}", f"{schema}.{table}.{column}"}
    ]
    assert len(columns) > 40
    for schema, table, column, kind in columns:
        name = sql.Identifier(schema, table)
        put = sql.SQL(
            "update {table} set {column} = %s where ctid in "
            "(select ctid from {table} order by {column} is null limit 1)"
        ).format(table=name, column=sql.Identifier(column))
        find = sql.SQL("select count(*) from {} where {}::text in (%s, %s::jsonb::text)")
        sent = in_json if kind == "jsonb" or column == "canonical" else in_text
        with small.transaction(force_rollback=True):
            small.execute(put, [sent])
            found = find.format(name, sql.Identifier(column))
            assert value(small, found, in_text, in_json), (table, column)
            small.execute(
                "select warehouse.remove_subject(%(id)s, null), "
                "warehouse.remove_mentions(%(id)s, null)",
                {"id": zoe},
            )
            assert not value(small, found, in_text, in_json), (table, column)
            assert rows(small, "select * from warehouse.search(%s, null)", zoe) == []


def test_the_keys_of_an_erased_client_are_gone_everywhere(small: psycopg.Connection) -> None:
    home = settings().home
    made = [
        key_store.create(small, home, KeyKind.SERVER, client=client, name=f"backend of {client}")
        for client in ("acme", "another")
    ]
    receipt = erase(Subject(SubjectKind.CLIENT, "acme"), "dpo")
    assert receipt.removed["warehouse.keys"] == 1
    known = KnownKeys(home)
    known.refresh()
    assert [known.find(one.key) is not None for one in made] == [False, True]


def test_a_client_with_a_login_and_who_let_an_export_pass_are_erased(
    small: psycopg.Connection,
) -> None:
    small.execute(ONE_OF_EACH)
    small.execute(
        "insert into warehouse.tenants "
        "values ('acme_app', 'acme', null), ('ann_app', 'acme', 'user-ann')"
    )
    small.execute("update warehouse.exports set accepted_by = 'user-ann'")
    receipt = erase(SUBJECTS["user"], "dpo")
    assert (receipt.state, receipt.removed["warehouse.tenants"]) == ("verified", 1)
    assert value(small, "select accepted_by from warehouse.exports") == "(erased)"
    assert erase(SUBJECTS["client"], "dpo").removed["warehouse.tenants"] == 1
    assert rows(small, "select role_name from warehouse.tenants") == [("app",)]


@pytest.mark.deep
def test_out_of_another_s_actor_a_subject_is_cut(small: psycopg.Connection, tmp_path: Path) -> None:
    actor = {"client_id": "acme", "user_id": "w1", "lead_id": "/u/user-ann"}
    sent = event(7_000, actor=actor | {"profile": "https://p.example/u/user-ann?a=1"})
    land(tmp_path, [sent])
    build_at(AS_OF)
    receipt = erase(SUBJECTS["user"], "dpo")
    assert (receipt.state, receipt.changed["staging.raw_events"] > 0) == ("verified", True)
    kept = "select actor from staging.raw_events where actor ->> 'user_id' = 'w1'"
    after = actor | {"profile": "https://p.example/u/(erased)?a=1"}
    assert rows(small, kept) == [(after,)]
    as_built = rows_of_models(small)
    build_at(AS_OF, full_refresh=True)
    assert rows_of_models(small) == as_built


# A revision of migrations, names of folders on receipts, and what else the warehouse notes itself.
NOTED = ("0017", "drop", "drop/done", "home", "home/dbt", "root", "done/f.ndjson")


@pytest.mark.deep
def test_what_the_warehouse_notes_of_itself_keeps_no_receipt_from_being_verified(
    small: psycopg.Connection,
) -> None:
    small.execute(ONE_OF_EACH)
    noted = json.dumps(dict.fromkeys(NOTED, 1))
    small.execute(
        "update warehouse.erasures set removed = %(noted)s, changed = %(noted)s, "
        "found = %(noted)s, files_removed = %(noted)s, files_left = %(noted)s",
        {"noted": noted},
    )
    for one in NOTED:
        receipt = erase(Subject(SubjectKind.USER, one), "root")
        assert (receipt.state, receipt.found) == ("verified", {}), one


def test_what_only_others_can_remove_is_named_with_what_to_do(small: psycopg.Connection) -> None:
    small.execute("create schema notes")
    small.execute("create table notes.people (name text)")
    small.execute("insert into notes.people values ('user-ann')")
    for _ in range(2):
        with pytest.raises(EraseError) as failed:
            erase(SUBJECTS["user"], "dpo")
        assert "Remove it from notes.people" in str(failed.value)
        assert "the last search found it in notes.people" in str(failed.value)
        assert "has not run yet" not in str(failed.value)
    small.execute("delete from notes.people")
    assert erase(SUBJECTS["user"], "dpo").state == "verified"


SHORT = ("7", "42", "a", "ab", "\u00e9", "x_y", "DE", "0-9")


@pytest.mark.deep
def test_a_short_identifier_takes_what_is_its_own_and_no_more(
    small: psycopg.Connection, tmp_path: Path
) -> None:
    browser = {"source": "web", "consent": {"analytics": True}, "user_agent": "Mozilla/5.0"}
    events = [
        event(
            number,
            event="page_view",
            actor={"client_id": "acme", "anonymous_id": f"visitor {number}"},
            context=browser | {"ip": f"203.0.113.{number}", "page": {"path": "/7/a/ab"}},
        )
        for number in range(250)
    ]
    events += [
        event(1_000 + number, actor={"client_id": "beta", "user_id": one})
        for number, one in enumerate(SHORT)
    ]
    path = tmp_path / "short.ndjson"
    path.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in events), "utf-8")
    assert load(open_source(str(path))).counts.accepted == len(events)
    small.execute("update staging.raw_events set country = 'DE' where client_id = 'acme'")
    # In so many hashes the bytes of each stand somewhere.
    by_chance = "select count(*) from staging.raw_events where position('7' in visitor_hash) > 0"
    assert value(small, by_chance) > 1
    for one in SHORT:
        subject = Subject(SubjectKind.USER, one)
        removed = erase(subject, "dpo", dry_run=True).removed
        assert removed == {"staging.raw_events": sum(is_of(sent, subject) for sent in events)}
    receipt = erase(Subject(SubjectKind.USER, "7"), "dpo")
    assert (receipt.state, receipt.removed["staging.raw_events"]) == ("verified", 1)


@pytest.mark.deep
def test_whatever_a_subject_is_called_it_is_found_wherever_it_stands(
    small: psycopg.Connection, tmp_path: Path
) -> None:
    path = tmp_path / "hostile.ndjson"
    actors = [{"client_id": "acme", "user_id": one} for one in HOSTILE]
    sent = [
        json.dumps(event(2 * number, actor=actor, **unknown), ensure_ascii=is_ascii)
        for number, actor in enumerate(actors)
        for unknown in ({}, {"event": "no such event"})
        for is_ascii in (True, False)
    ]
    sent += [json.dumps(event(0, actor=actor))[:-20] for actor in actors]
    path.write_text("\n".join(sent), "utf-8", newline="\n")
    counts = load(open_source(str(path))).counts
    assert (counts.accepted, counts.rejected) == (len(HOSTILE), 3 * len(HOSTILE))
    for one in HOSTILE:
        removed = erase(Subject(SubjectKind.USER, one), "dpo", dry_run=True).removed
        assert removed == {"staging.raw_events": 1, "staging.rejected_events": 3}, one


@pytest.fixture
def of_an_owner(servers, small: psycopg.Connection) -> Iterator[psycopg.Connection]:
    """A fresh warehouse of an owner who is no superuser."""
    server = servers(18)
    small.execute("create role owen login")
    small.execute(f"grant {roles.BUILDER} to owen with inherit true, set true")
    small.execute("create database of_owen owner owen")
    url = server.url("of_owen")
    with psycopg.connect(url, autocommit=True) as superuser:
        address = url.replace("postgres@", "owen@")
        with server.environment(address):
            for statement in migrate().for_dba:
                superuser.execute(statement)
            assert migrate().for_dba == []
            yield superuser
    server.drop_database(url)
    small.execute("drop owned by owen")
    small.execute("drop role owen")


def test_tables_of_others_are_not_searched_and_named(
    of_an_owner: psycopg.Connection, tmp_path: Path
) -> None:
    for statement in (
        "create schema cron",
        "create table cron.job (command text)",
        "insert into cron.job values ('user-ann')",
    ):
        of_an_owner.execute(statement)
    load(open_source(str(whole_file(tmp_path))))
    for receipt in (erase(SUBJECTS["user"], "dpo", dry_run=True), erase(SUBJECTS["user"], "dpo")):
        assert receipt.removed["staging.raw_events"] > 0
        assert receipt.not_searched == ["cron.job"]
    assert (receipt.state, receipt.found) == ("verified", {})
    assert rows(of_an_owner, "select not_searched from warehouse.erasures") == [(["cron.job"],)]


def columns_of(connection: psycopg.Connection) -> list[tuple[str, str, str, str]]:
    """Every (schema, table, column, type) in the database, without months of raw events."""
    return rows(
        connection,
        "select table_schema, table_name, column_name, data_type from information_schema.columns "
        "inner join information_schema.tables using (table_schema, table_name) "
        "where table_schema not in ('pg_catalog', 'information_schema') "
        "and table_type = 'BASE TABLE' and table_name !~ '^raw_events_'",
    )


def places_of(connection: psycopg.Connection, subject: Subject) -> set[str]:
    """Every table with the identifier as a whole value, or in bytes: another search than the one
    that makes the receipt. Of a subject of one client, in that client's rows.
    """
    columns = columns_of(connection)
    of_clients = {(schema, table) for schema, table, column, _ in columns if column == "client_id"}
    found = set()
    for schema, table, column, kind in columns:
        if subject.of_client and (schema, table) not in of_clients:
            continue
        whole_values = {
            "text": "{column} = %(id)s or {column} like '%%\"' || %(id)s || '\"%%'",
            "jsonb": "{column}::text like '%%\"' || %(id)s || '\"%%'",
            "bytea": "encode({column}, 'escape') like '%%\"' || %(id)s || '\"%%'",
            "ARRAY": "{column}::text like '%%' || %(id)s || '%%'",
        }
        if kind not in whole_values:
            continue
        scope = "client_id = %(client)s" if subject.of_client else "true"
        statement = sql.SQL("select exists (select from {} where ({}) and {})").format(
            sql.Identifier(schema, table),
            sql.SQL(whole_values[kind]).format(column=sql.Identifier(column)),
            sql.SQL(scope),
        )
        given = {"id": subject.identifier, "client": subject.of_client}
        if connection.execute(statement, given).fetchone()[0]:
            found.add(f"{schema}.{table}")
    return found


@pytest.mark.deep
def test_an_erasure_killed_at_any_step_is_finished_by_the_same_command(
    small: psycopg.Connection,
) -> None:
    command = ("erase", "--user-id", "user-ann", "--json")
    for table in ("staging.users", "intermediate.int_events"):
        # In the middle of the removal: at a table of what landed, and at one of the facts.
        with database.connect() as blocker:
            locked = sql.SQL("lock table {} in share mode")
            blocker.execute(locked.format(sql.Identifier(*table.split("."))))
            kill_where_it_waits(small, start_command(*command), "warehouse erase")
            blocker.rollback()
        assert states(small) == ["begun"]
        assert value(small, "select count(*) from staging.users where user_id = 'user-ann'") == 1
    with blocked_at("revenue_events", "offset"):
        kill_where_it_waits(small, start_command(*command), "warehouse dbt")
    assert states(small) == ["removed"]
    assert "staging.raw_events" not in places_of(small, SUBJECTS["user"])
    assert "marts.revenue_events" in places_of(small, SUBJECTS["user"])

    output, errors = start_command(*command).communicate(timeout=120)
    answer = json.loads(output)
    assert (answer["state"], answer["found"]) == ("verified", {}), errors
    assert answer["removed"]["staging.raw_events"] == sum(
        is_of(one, SUBJECTS["user"]) for one in stream()
    )
    assert states(small) == ["verified"]
    assert places_of(small, SUBJECTS["user"]) == set()
    assert unexplained(small) == 0


def states(connection: psycopg.Connection) -> list[str]:
    return [state for (state,) in rows(connection, "select state from warehouse.erasures")]


def kill_where_it_waits(
    connection: psycopg.Connection, process: subprocess.Popen[str], application: str
) -> None:
    """Kill a command once its statement waits for a lock, and see the server let go of it."""
    waiting = (
        "select count(*) from pg_stat_activity where application_name = %s "
        "and datname = current_database()"
    )
    is_blocked = waiting + " and wait_event_type = 'Lock'"
    until(
        lambda: value(connection, is_blocked, application) or process.poll() is not None,
        what=f"{application} waits",
    )
    assert process.poll() is None, process.communicate()
    kill(process)
    until(lambda: value(connection, waiting, application) == 0, what="its statements end")


# Of the larger file, worker processes have validated the chunks after the one that is held.
@pytest.mark.parametrize(("chunks", "held_chunk"), [(2, 0), (9, 3)])
def test_no_line_slips_in_beside_an_erasure(
    small: psycopg.Connection, tmp_path: Path, chunks: int, held_chunk: int
) -> None:
    subject = SUBJECTS["user"]
    actor = {"client_id": "acme", "user_id": "user-ann"}
    path = tmp_path / "late.ndjson"
    path.write_bytes(b"".join(line(number, actor=actor) for number in range(chunks * CHUNK_LINES)))
    with (
        held(
            small,
            f"before insert on staging.event_batches for each row when (new.chunk = {held_chunk})",
        ) as is_waiting,
        ThreadPoolExecutor() as threads,
    ):
        loading = start("load", "--json", "--workers", 1, path)
        until(is_waiting)
        # A chunk is about to be committed, and was validated before anybody was erased.
        erasing = threads.submit(erase, subject, "dpo")
        until(lambda: value(small, WAITS_FOR_LOADERS))
        assert states(small) == []
        release(small)
        loaded = finish(loading)
        receipt = erasing.result(timeout=120)
    answer = loaded.answer["total"]
    assert answer["accepted"] + answer["suppressed_erased"] == chunks * CHUNK_LINES
    assert answer["suppressed_erased"] > 0
    assert receipt.removed["staging.raw_events"] > answer["accepted"] > 0
    assert places_of(small, subject) == set()


WAITS_FOR_LOADERS = (
    "select exists (select from pg_locks inner join pg_stat_activity using (pid) where not granted "
    "and relation = 'warehouse.lock_landing'::regclass and application_name = 'warehouse erase')"
)


@pytest.mark.parametrize("number", ['"abc"', "1e300", "-1", "1.5", "null", "[1]"])
def test_a_row_that_no_line_could_have_brought_is_erased_too(
    small: psycopg.Connection, number: str
) -> None:
    small.execute(
        "insert into staging.raw_events "
        "(event_id, timestamp, batch_id, is_bot, client_id, event, actor, context) "
        "select gen_random_uuid(), timestamp, batch_id, false, client_id, event, actor, "
        "jsonb_build_object('producer', 'p', 'sequence', %s::jsonb) from staging.raw_events "
        "where actor ->> 'user_id' = %s limit 1",
        (number, SUBJECTS["user"].identifier),
    )
    assert erase(SUBJECTS["user"], "dpo", dry_run=True).removed["staging.raw_events"] > 1


WORDS = (
    "chat", "client_id", "web", "hot", "_platform",
    # Of entities, of the ledger and its states, of the quarantine, of models and what they say.
    "admin", "active", "churned_at", "events", "clients", "finished", "unknown_event",
    "revenue_daily", "staging.raw_events", "active_users", "organic", "late events",
)  # fmt: skip


def test_words_that_everybody_uses_are_not_erased(small: psycopg.Connection) -> None:
    for word in (*WORDS, "a\0b", ""):
        with pytest.raises(EraseError, match=r"is a reserved word|characters"):
            erase(Subject(SubjectKind.USER, word), "dpo")
    assert states(small) == []


@pytest.mark.parametrize(
    "arguments", [[], ["--user-id", "u", "--client-id", "c"], ["--user-id", "u", "--lead-id", "l"]]
)
def test_an_erasure_names_one_subject(arguments: list[str]) -> None:
    refused = run("erase", *arguments)
    assert (refused.code, refused.output) == (2, "")


RATED = AS_OF - 20 * DAY
# Of another day: what a rating touches beneath is recomputed, and the mart is not.
BACKFILL = BuildOptions(start=(RATED + DAY).date(), end=(RATED + 2 * DAY).date())


def about_a_chat(number: int, name: str, user: str, **said: object) -> dict[str, Any]:
    return event(
        number,
        event=name,
        timestamp=(RATED + number * MINUTE).isoformat(),
        actor={"client_id": "acme", "user_id": user},
        properties={"message_id": "rated"} | said,
    )


def ann_rates_bobs_chat(directory: Path) -> None:
    """Land a chat and its rating: a mart keeps what she wrote beside what he asked."""
    chat = about_a_chat(0, "chat", "user-bob")
    land(directory, [chat, about_a_chat(1, "chat_feedback", "user-ann", rating=5, text="odd")])


HER_TEXT = "select distinct user_feedback_text from marts.chat_events where message_id = 'rated'"


@pytest.mark.parametrize(
    "beside",
    [DEEP(BACKFILL), BuildOptions(as_of=AS_OF, select="+chat_events")],
    ids=["window", "new"],
)
def test_a_build_beside_an_erasure_keeps_nothing_of_the_subject(
    small: psycopg.Connection, tmp_path: Path, beside: BuildOptions
) -> None:
    ann_rates_bobs_chat(tmp_path)
    build_at(AS_OF)
    if beside is not BACKFILL:
        land(tmp_path, [about_a_chat(2, "chat", "user-bob")])
    with ThreadPoolExecutor() as threads:
        with database.connect() as blocker:
            blocker.execute(
                "select warehouse.lock_model('int_rated_chats')",
            )
            running = threads.submit(build, beside)
            builders = ["warehouse build", "warehouse dbt"]
            until(lambda: value(small, WAITING, builders), what="the build waits")
            erasure = threads.submit(erase, SUBJECTS["user"], "dpo")
            until(lambda: value(small, WAITING_TO_BUILD), what="the erasure waits")
        running.result(timeout=120)
        assert erasure.result(timeout=120).state == "verified"
    assert rows(small, HER_TEXT) == [(None,)]
    after = rows_of_models(small)
    build_at(AS_OF, full_refresh=True)
    assert rows_of_models(small) == after


WAITING_TO_BUILD = (
    "select exists (select from pg_locks "
    "where relation = 'warehouse.lock_build'::regclass and not granted)"
)
WAITING = (
    "select exists (select from pg_stat_activity where datname = current_database() "
    "and application_name = any(%s) and wait_event_type = 'Lock')"
)


@pytest.mark.deep
def test_data_that_came_after_an_interrupted_erasure_keeps_nothing_of_the_subject(
    small: psycopg.Connection, tmp_path: Path
) -> None:
    ann_rates_bobs_chat(tmp_path)
    build_at(AS_OF)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(erasing, "build_under_lock", interrupted)
        with pytest.raises(BuildError, match="interrupted"):
            erase(SUBJECTS["user"], "dpo")
    build(BACKFILL)
    # What the removal did not see, as a backup that was brought back does.
    small.execute("insert into staging.used_sequences values (1, 'user-ann', 1, '2025-03-01')")
    receipt = erase(SUBJECTS["user"], "dpo")
    assert (receipt.state, receipt.removed["staging.used_sequences"]) == ("verified", 1)
    assert rows(small, HER_TEXT) == [(None,)]


def interrupted(*_: object) -> None:
    raise BuildError("interrupted")
