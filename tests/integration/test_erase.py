"""An erased subject is nowhere any more, and nothing else has changed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from ingestion import database
from ingestion.entities import EntityKind
from ingestion.erased import Subject, SubjectKind
from ingestion.loader import load
from ingestion.source import open_source
from orchestration.erase import EraseError, erase
from tests.building import build_at, land_entities, rows_of_models, warm_warehouse
from tests.conftest import Server
from tests.killed_builds import blocked_at, start_command, wait_until
from tests.lines import line, rows, value
from tests.processes import CHUNK_LINES, finish, held, kill, release, run, start, until

AS_OF = datetime(2025, 6, 10, 12, tzinfo=UTC)
FIRST = datetime(2025, 3, 1, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


def _event(number: int, name: str, actor: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {
        "event_id": f"00000000-0000-4000-8000-{number:012}",
        "event": name,
        "timestamp": (FIRST + number * 7 * 60 * MINUTE).isoformat(),
        "actor": actor,
        "context": {"producer": f"edge-{number % 2}", "sequence": number // 2} | members,
    }


# What a user, a lead or a visitor may do.
USERS_DO = {
    "chat": {"message_id": "m1", "conversation_id": "c1", "document_id": "d1", "cost_prompt": 0.5},
    "chat_feedback": {"message_id": "m1", "rating": 4, "text": "good"},
    "revenue": {"type": "subscription", "amount_usd": 12.5, "plan_type": "pro"},
    "credit_used": {"feature_name": "maps", "credits_used": 2},
    "api_request": {"endpoint": "/x", "method": "GET", "response_time_ms": 9, "status_code": 500},
    "builder_action": {"action": "move"},
    "analytics.export": {"view": "sales"},
    "signup": {},
    "subscription_started": {"subscription_id": "s1", "plan": "pro", "mrr_cents": 900},
}
LEADS_DO = {
    "lead_created": {"source": "web_form", "campaign": "spring"},
    "lead_stage_changed": {"stage": "hot"},
    "message": {"direction": "inbound", "sender_type": "lead"},
    "first_response": {"response_time_seconds": 4},
    "qualified": {},
    "invoice_sent": {"value_cents": 700},
    "job_won": {"value_cents": 900},
    "review_received": {"rating": 5},
}
VISITORS_DO = {
    "page_view": {},
    "session": {},
    "pdf_download": {"document_id": "d1"},
    "contact_submitted": {"form": "f"},
}


def stream() -> list[dict[str, Any]]:
    """Events of every kind, of two clients with users, leads and visitors of their own."""
    events = []
    for client in ("acme", "beta"):
        for name in ("ann", "bob"):
            for kind, does in (("user", USERS_DO), ("lead", LEADS_DO), ("anonymous", VISITORS_DO)):
                actor = {"client_id": client, f"{kind}_id": f"{kind}-{name}"}
                for event, properties in does.items():
                    page = {"page": {"path": f"/{name}"}} if event == "page_view" else {}
                    one = _event(len(events), event, actor, **page)
                    events.append(one | {"properties": properties})
    # Somebody else who speaks of one of them, and later that day does not.
    told = _event(len(events), "chat", {"client_id": "acme", "user_id": "user-cid"})
    later = datetime.fromisoformat(told["timestamp"]) + MINUTE
    again = _event(len(events) + 1, "chat", told["actor"]) | {"timestamp": later.isoformat()}
    return [*events, told | {"properties": {"invited": {"by": ["user-ann"]}}}, again]


BROKEN = (
    {"event": "no such event", "actor": {"client_id": "acme", "user_id": "user-ann"}},
    {"event": "no such event", "actor": {"client_id": "acme", "user_id": "user-bob"}},
)
UNPARSABLE = b'{"event": "chat", "actor": {"client_id": "acme", "user_id": "user-ann"\n'
USER_ROWS = [
    {
        "user_id": f"user-{name}",
        "client_id": "acme",
        "created_at": FIRST.isoformat(),
        "updated_at": FIRST.isoformat(),
        "monthly_message_limit": 1,
    }
    for name in ("ann", "bob")
]
CLIENT_ROWS = [
    {"client_id": client, "created_at": FIRST.isoformat(), "updated_at": FIRST.isoformat()}
    for client in ("acme", "beta")
]


def whole_file(directory: Path) -> Path:
    path = directory / "events.ndjson"
    lines = [json.dumps(one).encode() + b"\n" for one in (*stream(), *BROKEN)]
    path.write_bytes(b"".join(lines) + UNPARSABLE)
    return path


ENTITIES = {EntityKind.USERS: USER_ROWS, EntityKind.CLIENTS: CLIENT_ROWS}


def built(directory: Path) -> None:
    """Everything, in one file of events and one of each kind of entity."""
    load(open_source(str(whole_file(directory))))
    for kind, entity_rows in ENTITIES.items():
        land_entities(directory, kind, entity_rows)
    build_at(AS_OF)


def a_template(
    server: Server, directory: Path, only: Sequence[str] = ()
) -> Iterator[Callable[[], AbstractContextManager[psycopg.Connection]]]:
    """Give copies of a warehouse with everything in it built.

    Whole databases, and not rows beside rows: a search looks everywhere. They bear one name after
    the other, for dbt knows its project by it.
    """
    with warm_warehouse(server, only) as connection:
        built(directory)
        name = connection.info.dbname
        connection.close()
        server.rename_database(name, f"{name}_built")

        @contextmanager
        def copied() -> Iterator[psycopg.Connection]:
            url = server.new_database(f"{name}_built", name)
            with psycopg.connect(url, autocommit=True) as copy:
                yield copy
            server.drop_database(url)

        yield copied
    server.drop_database(server.url(f"{name}_built"))


@pytest.fixture(scope="module")
def wholes(servers, tmp_path_factory):
    yield from a_template(servers(18), tmp_path_factory.mktemp("landed"))


@pytest.fixture(scope="module")
def smalls(servers, tmp_path_factory):
    only = ["revenue_daily", "revenue_events", "ingest_reconciliation_daily"]
    yield from a_template(servers(18), tmp_path_factory.mktemp("landed"), only)


@pytest.fixture
def whole(wholes) -> Iterator[psycopg.Connection]:
    """A warehouse with all models built."""
    with wholes() as connection:
        yield connection


@pytest.fixture
def small(smalls) -> Iterator[psycopg.Connection]:
    """A warehouse with a few models built, which takes seconds."""
    with smalls() as connection:
        yield connection


SUBJECTS = {
    "user": Subject(SubjectKind.USER, "user-ann"),
    "lead of a client": Subject(SubjectKind.LEAD, "lead-ann", "acme"),
    "lead": Subject(SubjectKind.LEAD, "lead-ann"),
    "visitor": Subject(SubjectKind.ANONYMOUS, "anonymous-ann"),
    "client": Subject(SubjectKind.CLIENT, "acme"),
}


def is_of(line: dict[str, Any], subject: Subject) -> bool:
    """Tell whether a line or row is the subject's: its own reading of the rule."""
    client = line.get("actor", line).get("client_id")
    if subject.of_client and subject.of_client != client:
        return False
    return f'"{subject.identifier}"' in json.dumps(line)


def unexplained(connection: psycopg.Connection) -> int:
    return value(connection, "select sum(abs(unexplained)) from marts.ingest_reconciliation_daily")


def test_what_is_left_is_what_would_be_there_had_the_subject_never_come(
    whole: psycopg.Connection,
) -> None:
    subject = SUBJECTS["user"]
    receipt = erase(subject, "dpo")
    assert (receipt.state, receipt.found) == ("verified", {})
    assert receipt.removed["staging.raw_events"] == sum(is_of(one, subject) for one in stream())
    assert unexplained(whole) == 0
    # What closed periods say now is told, and why.
    causes = "select distinct cause from marts.restatements where mart = 'platform_analytics'"
    assert rows(whole, causes) == [("erasure",)]
    after = rows_of_models(whole)
    build_at(AS_OF, full_refresh=True)
    assert rows_of_models(whole) == after


def test_of_an_erased_client_no_figure_is_told(whole: psycopg.Connection) -> None:
    erase(SUBJECTS["client"], "dpo")
    told = "select mart, client_id from marts.restatements where client_id <> 'none'"
    assert rows(whole, told) == []
    assert rows(whole, "select distinct client_id from marts.analytics_daily") == [("beta",)]
    assert rows(whole, "select client_id from staging.users") == []


@pytest.mark.parametrize("name", ["user", "lead of a client", "client"])
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
    wait_until(
        lambda: value(connection, is_blocked, application) or process.poll() is not None,
        f"{application} waits",
    )
    assert process.poll() is None, process.communicate()
    kill(process)
    wait_until(lambda: value(connection, waiting, application) == 0, "its statements end")


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
