"""An erased subject is nowhere any more, and does not come back."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from ingestion import database
from ingestion.erased import Subject, SubjectKind
from ingestion.loader import load
from ingestion.source import open_source
from orchestration.erase import EraseError, erase
from tests.building import build_at, land_entities
from tests.erasing import (
    AS_OF,
    BROKEN,
    ENTITIES,
    SUBJECTS,
    UNPARSABLE,
    a_template,
    is_of,
    stream,
    unexplained,
    whole_file,
)
from tests.killed_builds import blocked_at, start_command
from tests.lines import line, rows, value
from tests.processes import CHUNK_LINES, finish, held, kill, release, run, start, until


@pytest.fixture(scope="module")
def smalls(servers, tmp_path_factory):
    only = ["revenue_daily", "revenue_events", "ingest_reconciliation_daily"]
    yield from a_template(servers(18), tmp_path_factory.mktemp("landed"), only)


@pytest.fixture
def small(smalls) -> Iterator[psycopg.Connection]:
    """A warehouse with a few models built, which takes seconds."""
    with smalls() as connection:
        yield connection


@pytest.mark.parametrize("name", ["user", "client"])
def test_an_erased_subject_is_nowhere_and_does_not_come_back(
    small: psycopg.Connection, tmp_path: Path, name: str
) -> None:
    subject = SUBJECTS[name]
    before = places_of(small, subject)
    assert "staging.raw_events" in before
    would_go = erase(subject, "dpo", dry_run=True)
    assert places_of(small, subject) == before
    assert value(small, "select count(*) from warehouse.erasures") == 0

    receipt = erase(subject, "dpo")
    assert receipt.removed == would_go.removed
    assert before <= receipt.removed.keys()
    assert places_of(small, subject) == set()

    lines = [*stream(), *BROKEN]
    of_subject = sum(is_of(line, subject) for line in lines)
    of_subject += subject.identifier.encode() in UNPARSABLE and subject.of_client is None
    counts = load(open_source(str(whole_file(tmp_path)))).counts
    assert counts.suppressed_erased == counts.suppressed == of_subject
    assert counts.received == counts.duplicates + counts.suppressed + counts.rejected
    for kind, entity_rows in ENTITIES.items():
        counts = land_entities(tmp_path, kind, entity_rows)
        assert counts.suppressed == sum(is_of(row, subject) for row in entity_rows)
    build_at(AS_OF)
    assert places_of(small, subject) == set()
    assert unexplained(small) == 0


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
    told = "select alert_id, taken_by from warehouse.alert_actions"
    assert rows(small, told) == [(of_another, "(erased)")]
    assert value(small, "select requested_by from warehouse.erasures") == "(erased)"


def places_of(connection: psycopg.Connection, subject: Subject) -> set[str]:
    """Every table with the identifier as a whole value, or in bytes: another search than the one
    that makes the receipt. Of a subject of one client, in that client's rows.
    """
    columns = rows(
        connection,
        "select table_schema, table_name, column_name, data_type from information_schema.columns "
        "inner join information_schema.tables using (table_schema, table_name) "
        "where table_schema not in ('pg_catalog', 'information_schema') "
        "and table_type = 'BASE TABLE' and table_name !~ '^raw_events_'",
    )
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


def test_no_line_slips_in_beside_an_erasure(small: psycopg.Connection, tmp_path: Path) -> None:
    subject = SUBJECTS["user"]
    actor = {"client_id": "acme", "user_id": "user-ann"}
    path = tmp_path / "late.ndjson"
    path.write_bytes(b"".join(line(number, actor=actor) for number in range(2 * CHUNK_LINES)))
    with (
        held(small, "before insert on staging.event_batches for each row") as is_waiting,
        ThreadPoolExecutor() as threads,
    ):
        loading = start("load", "--json", path)
        until(is_waiting)
        # A chunk is about to be committed, and was judged before anybody was erased.
        erasing = threads.submit(erase, subject, "dpo")
        until(lambda: value(small, WAITS_FOR_LOADERS))
        assert states(small) == []
        release(small)
        loaded = finish(loading)
        receipt = erasing.result(timeout=120)
    answer = loaded.answer["total"]
    assert answer["accepted"] + answer["suppressed_erased"] == 2 * CHUNK_LINES
    assert answer["suppressed_erased"] > 0
    assert receipt.removed["staging.raw_events"] > answer["accepted"] > 0
    assert places_of(small, subject) == set()


WAITS_FOR_LOADERS = (
    "select exists (select from pg_locks inner join pg_stat_activity using (pid) where not granted "
    "and locktype = 'advisory' and application_name = 'warehouse erase')"
)


@pytest.mark.parametrize("word", ["chat", "client_id", "web", "hot", "_platform", "a\0b", ""])
def test_words_that_everybody_uses_are_not_erased(small: psycopg.Connection, word: str) -> None:
    with pytest.raises(EraseError, match=r"word of the tracking plan|characters"):
        erase(Subject(SubjectKind.USER, word), "dpo")
    assert states(small) == []


@pytest.mark.parametrize(
    "arguments", [[], ["--user-id", "u", "--client-id", "c"], ["--user-id", "u", "--lead-id", "l"]]
)
def test_an_erasure_names_one_subject(arguments: list[str]) -> None:
    refused = run("erase", *arguments)
    assert (refused.code, refused.output) == (2, "")
