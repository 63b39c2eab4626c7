"""Marts after an erasure are those of a warehouse that the subject never came to."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from ingestion.privacy.suppression import Subject, SubjectKind
from orchestration.operations.erase import EraseError, erase
from orchestration.operations.reserved_ids import is_reserved, names_in_rows
from tests.support.building import build_at, land, rows_of_models, touched
from tests.support.erasing import AS_OF, MINUTE, SUBJECTS, a_template, is_of, stream, unexplained
from tests.support.lines import rows, value
from tests.support.people import land_both_tenants


@pytest.fixture(scope="module")
def wholes(servers, tmp_path_factory):
    yield from a_template(servers(18), tmp_path_factory.mktemp("landed"))


@pytest.fixture
def whole(wholes) -> Iterator[psycopg.Connection]:
    """A warehouse with all models built."""
    with wholes() as connection:
        yield connection


@pytest.mark.deep
def test_what_is_left_is_what_would_be_there_had_the_subject_never_come(
    whole: psycopg.Connection,
) -> None:
    subject = SUBJECTS["lead of a client"]
    cells = dict.fromkeys(("analytics_daily", "analytics_weekly", "top_pages_daily"), "client_id")
    cells |= {"lead_funnel": "client_id || ' ' || lead_id", "user_daily_usage": "user_id"}
    # What it touches is rewritten, and nothing else.
    assert touched(whole, cells, lambda: erase(subject, "dpo")) == {
        "analytics_daily": {"acme"},
        "analytics_weekly": {"acme"},
        "lead_funnel": {"acme lead-ann"},
        "user_daily_usage": set(),
        "top_pages_daily": set(),
    }
    removed = value(whole, "select removed -> 'staging.raw_events' from warehouse.erasures")
    assert removed == sum(is_of(one, subject) for one in stream())
    assert unexplained(whole) == 0
    # What closed periods say now is recorded, and why.
    assert rows(whole, "select distinct cause from marts.restatements") == [("erasure",)]
    assert value(whole, "select count(*) from warehouse.erased_rows") == 0
    after = rows_of_models(whole)
    build_at(AS_OF, full_refresh=True)
    assert rows_of_models(whole) == after


@pytest.mark.deep
def test_of_an_erased_client_no_figure_is_reported(whole: psycopg.Connection) -> None:
    erase(SUBJECTS["client"], "dpo")
    query = "select mart, client_id from marts.restatements where client_id <> 'none'"
    assert rows(whole, query) == []
    assert rows(whole, "select distinct client_id from marts.analytics_daily") == [("beta",)]
    assert rows(whole, "select client_id from staging.users") == []


@pytest.mark.deep
def test_marts_of_events_out_of_which_a_subject_was_cut_are_those_of_a_rebuild(
    whole: psycopg.Connection, tmp_path: Path
) -> None:
    views = [
        # A visitor's session that goes on from a page of the subject's to others.
        a_view(0, {"path": "/users/acme.com"}),
        a_view(1, {"path": "/"}, referrer="https://www.acme.com:8080/x"),
        a_view(2, {"path": "/a", "url": "https://ann@acme.com/a"}, referrer="https://acme.com/b"),
        a_view(3, {"path": "/c?by=acme.com#acme.com"}, referrer="https://x.org/acme.com"),
        # Another client's, and of two who come from the same host, one visitor of a longer name.
        a_view(4, {"path": "/"}, client="beta", referrer="https://acme.com/"),
        a_view(5, {"path": "/"}, client="beta", referrer="https://my.acme.com/"),
        a_view(6, {"path": "/"}, client="acme.com"),
    ]
    called = a_view(7, {}) | {
        "event": "api_request",
        "properties": {
            "endpoint": "/v1/acme.com/leads", "method": "GET", "response_time_ms": 9,
            "status_code": 503, "error_message": "GET /v1/acme.com",
        },
    }  # fmt: skip
    land(tmp_path, [*views, called])
    build_at(AS_OF)
    hosts = "select distinct referrer_host from intermediate.int_page_view_events"
    assert ("acme.com",) in rows(whole, hosts)
    receipt = erase(Subject(SubjectKind.CLIENT, "acme.com"), "dpo")
    assert (receipt.removed["staging.raw_events"], receipt.changed["staging.raw_events"]) == (1, 6)
    assert {host for (host,) in rows(whole, hosts)} >= {"(erased)", "my.acme.com", "x.org"}
    paths = (
        "select path from marts.top_pages_daily where date = '2025-05-20' and client_id = 'acme'"
    )
    assert {path for (path,) in rows(whole, paths)} == {
        "/users/(erased)", "/", "/a", "/c?by=(erased)#(erased)",
    }  # fmt: skip
    assert unexplained(whole) == 0
    after = rows_of_models(whole)
    build_at(AS_OF, full_refresh=True)
    assert rows_of_models(whole) == after

    # The same events under other ids: they land with the same cut.
    land(tmp_path, [one | {"event_id": str(uuid.uuid4())} for one in (*views, called)])
    build_at(AS_OF)
    assert rows(whole, "select * from warehouse.search('acme.com', null)") == []


def a_view(
    number: int, page: dict[str, str], client: str = "acme", referrer: str | None = None
) -> dict[str, Any]:
    """A page view of one visitor of each client, some minutes after the one before."""
    return {
        "event_id": f"00000000-0000-4000-9000-{number:012}",
        "event": "page_view",
        "timestamp": (datetime(2025, 5, 20, 9, tzinfo=UTC) + number * 5 * MINUTE).isoformat(),
        "actor": {"client_id": client, "anonymous_id": "somebody"},
        "context": {"page": page | ({"referrer": referrer} if referrer else {})},
    }


# Sentences, patterns, SQL; names of files, people and builds, and paths of members: no words.
NO_WORDS = {
    "detail", "message", "title", "host_pattern", "statements", "requested_by", "taken_by",
    "invocation_id", "run_id", "build", "alert_id", "referrer_host", "resolved_by",
    "acknowledged_by", "member", "nearest_known",
}  # fmt: skip
# Ids of machines, hashes, instants, and paths.
is_made_up = re.compile(r"[0-9a-f-]{16,}|[0-9TZ:. +-]+|[./].*|test_\d+").fullmatch


@pytest.mark.deep
def test_every_word_that_the_warehouse_writes_into_rows_is_refused(
    whole: psycopg.Connection, tmp_path: Path
) -> None:
    land_both_tenants(tmp_path)
    build_at(datetime(2026, 1, 31, tzinfo=UTC))
    whole.execute(
        "insert into warehouse.alert_actions (alert_id, action, taken_by) "
        "select alert_id, 'resolved', 'zoe' from marts.alert_history limit 1"
    )
    with pytest.raises(EraseError, match="is a reserved word"):
        erase(Subject(SubjectKind.USER, "none"), "dpo")
    brought = strings_brought(whole)
    columns = rows(
        whole,
        "select table_schema, table_name, column_name from information_schema.columns "
        "where table_schema in ('staging', 'intermediate', 'marts', 'export', 'warehouse') "
        "and data_type in ('text', 'name') and table_name !~ '^raw_events_' "
        "and table_name not in "
        "('applied_files', 'view_digests', 'stored_models', 'stored_tests', 'compiled_nodes', "
        "'migrations', 'objects', 'granted')",
    )
    words: dict[str, str] = {}
    for schema, table, column in columns:
        if column in NO_WORDS:
            continue
        name, of = sql.Identifier(column), sql.Identifier(schema, table)
        found = whole.execute(
            sql.SQL("select distinct {0} from {1} where length({0}) between 1 and 40").format(
                name, of
            )
        )
        words |= {
            word: f"{table}.{column}" for (word,) in found
            if word not in brought and not is_made_up(word)
        }  # fmt: skip
    assert len(words) > 60
    names = names_in_rows(whole)
    assert {
        word: where for word, where in words.items() if not is_reserved(word) and word not in names
    } == {}


def strings_brought(connection: psycopg.Connection) -> set[str]:
    """Every string of the lines and rows that landed, and what marts make of a plan or address."""
    texts = rows(
        connection,
        "select concat(client_id, ' ', actor, context, properties) from staging.raw_events "
        "union all select encode(payload, 'escape') from staging.rejected_events "
        "union all select canonical from staging.clients "
        "union all select canonical from staging.units "
        "union all select canonical from staging.users "
        "union all select canonical from staging.documents",
    )
    return {
        json.loads(f'"{string}"')
        for (text,) in texts
        for string in re.findall(r'"((?:[^"\\]|\\["\\/bfnrt]|\\u[0-9a-f]{4})*)"', text)
    }
