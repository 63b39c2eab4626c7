"""One subject in every shape that people would call the same, and a search that shares nothing.

The table below says where the subject stands, in which form, and what becomes of it. The search is
made of a dump of the whole database and of all files: it finds the places that receipts list as not
searched, and no other.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import psycopg
import pytest

from ingestion.load.entities import EntityKind, load_entities
from ingestion.load.loader import load
from ingestion.privacy.suppression import Subject, SubjectKind
from ingestion.sources.files import open_source
from orchestration.cli.erase import emit_receipt
from orchestration.operations import erase as erasing
from orchestration.operations.erase import EraseError, erase
from tests.support.building import build_at, rows_of_models, start_afresh, warm_warehouse
from tests.support.erasing import AS_OF, DAY, FIRST, MINUTE, unexplained
from tests.support.lines import rows, value
from warehouse import embedded
from warehouse.settings import settings

IDENTIFIERS = ("Ann.Lee@Example.com", "8675309")
REMOVED, CUT, REPLACED, DELETED = "removed", "cut out, the row stays", "replaced", "file deleted"
LEFT, NOT_SEARCHED = "file left, and counted", "not searched"


@dataclass(frozen=True)
class Shape:
    """Where somebody stands, in which form, and what an erasure makes of it.

    ``write`` gives an event's members, or what a file or row says; ``table`` is where a search that
    finds it afterwards does so.
    """

    where: str
    form: str
    becomes: str
    write: Callable[[str], Any]
    table: str = ""


def _actor(name: str, write: Callable[[str], str]) -> Callable[[str], dict[str, Any]]:
    return lambda x: {"event": "signup", "actor": {"client_id": "acme", name: write(x)}}


def _said(write: Callable[[str], Any]) -> Callable[[str], dict[str, Any]]:
    return lambda x: {"event": "chat", "properties": {"invited": write(x)}}


def _page(**members: Callable[[str], str]) -> Callable[[str], dict[str, Any]]:
    return lambda x: {
        "event": "page_view",
        "context": {"page": {"path": "/"} | {name: write(x) for name, write in members.items()}},
    }


def _number(x: str) -> Any:
    return int(x) if x.isdigit() else x


def _in_escapes(x: str) -> str:
    return "".join(f"\\u{ord(character):04x}" for character in x)


EVENTS = [
    Shape("actor.user_id", "as it is", REMOVED, _actor("user_id", str)),
    Shape("actor.lead_id", "space around it", REMOVED, _actor("lead_id", lambda x: f" {x}\t")),
    Shape("actor.anonymous_id", "other case", REMOVED, _actor("anonymous_id", str.swapcase)),
    Shape("properties, deep", "as it is", REMOVED, _said(lambda x: {"by": [{"who": x}]})),
    Shape("properties", "a member's name", REMOVED, _said(lambda x: {x: True})),
    Shape("properties", "a JSON number, if digits", REMOVED, _said(_number)),
    Shape(
        "properties", "the number with .0", REMOVED,
        _said(lambda x: float(x) if x.isdigit() else x.upper()),
    ),
    Shape("properties", "after mailto:", REMOVED, _said(lambda x: f"mailto:{x}?subject=hi")),
    Shape("properties", "after urn:user:", REMOVED, _said(lambda x: f"urn:user:{x}")),
    Shape("properties", "percent-encoded", REMOVED, _said(lambda x: quote(f"{x} ", safe=""))),
    Shape("properties", "JSON in a string", REMOVED, _said(lambda x: json.dumps({"by": x}))),
    Shape(
        "properties", "JSON in JSON in a string", REMOVED,
        _said(lambda x: json.dumps({"log": json.dumps([x])})),
    ),
    Shape(
        "properties", "JSON with \\u escapes in a string", REMOVED,
        _said(lambda x: f'{{"by": "{_in_escapes(x)}"}}'),
    ),
    Shape(
        "context.session_id", "as it is", REMOVED,
        lambda x: {"event": "chat", "context": {"session_id": x}},
    ),
    Shape(
        "context.campaign.name", "as it is", REMOVED,
        lambda x: {"event": "page_view", "context": {"campaign": {"source": "x", "name": x}}},
    ),
    Shape("context.page.path", "a segment", CUT, _page(path=lambda x: f"/users/{x}/orders")),
    Shape(
        "context.page.url", "a query's value, percent-encoded", CUT,
        _page(url=lambda x: f"https://acme.com/?mail={quote(x, safe='')}&page=2"),
    ),
    Shape(
        "context.page.referrer", "in an address in an address", CUT,
        _page(referrer=lambda x: "https://sso.org/?to=" + quote(f"/u?m={quote(x, safe='')}", "")),
    ),
    Shape(
        "context.page.referrer", "a user before the host", CUT,
        _page(referrer=lambda x: f"https://{quote(x, safe='')}:pw@files.org/a"),
    ),
    Shape(
        "properties.endpoint", "a segment, after the method", CUT,
        lambda x: {
            "event": "api_request",
            "properties": {
                "endpoint": f"GET /v1/users/{x}", "method": "GET", "response_time_ms": 1,
                "status_code": 200,
            },
        },
    ),
    Shape(
        "properties, unknown", "a query's value, + for space", CUT,
        _said(lambda x: f"/search?q={quote_plus(f' {x} ')}"),
    ),
    Shape(
        "properties", "in a sentence", NOT_SEARCHED, _said(lambda x: f"please ask {x} about it"),
        "staging.raw_events intermediate.int_chat_events marts.chat_events",
    ),
    Shape(
        "actor.user_id of another", "a part of a longer id", NOT_SEARCHED,
        _actor("user_id", lambda x: f"x{x}y"),
        "staging.raw_events intermediate.int_events intermediate.int_conversion_events",
    ),
]  # fmt: skip
REFUSED = [
    Shape("a refused line", "an object", REMOVED, lambda x: json.dumps({"event": "?", "by": x})),
    Shape("a refused line", "no JSON", REMOVED, lambda x: f'{{"event": "chat", "by": "{x}"'),
    Shape("a refused line", "an address in it", REMOVED, lambda x: json.dumps({"u": f"/u/{x}"})),
]
AT = FIRST.isoformat()
ENTITIES = [
    Shape(
        "users", "the key", REMOVED,
        lambda x: (EntityKind.USERS, {"user_id": x, "created_at": AT, "updated_at": AT}),
    ),
    Shape(
        "documents.title", "in an address", REMOVED,
        lambda x: (
            EntityKind.DOCUMENTS,
            {"document_id": "d1", "title": f"https://x.org/{x}/a.pdf", "updated_at": AT},
        ),
    ),
    Shape(
        "users, a refused row", "in no column", REMOVED,
        lambda x: (EntityKind.USERS, {"user_id": "u7", "nickname": x}),
    ),
]  # fmt: skip
ROWS = [
    Shape(
        "warehouse.tenants",
        "as it is",
        REMOVED,
        lambda x: ("tenants values ('app', 'acme', %s)", x),
    ),
    Shape(
        "warehouse.alert_actions.taken_by",
        "other case",
        REPLACED,
        lambda x: (
            "alert_actions (alert_id, action, taken_by) values ('a', 'resolved', %s)",
            x.upper(),
        ),
    ),
    Shape(
        "warehouse.run_events.job",
        "a file's name",
        REMOVED,
        lambda x: ("run_events values ('r', 'file_quarantined', %s, now(), 'd')", f"{x}.csv.gz"),
    ),
]
FILES = [
    Shape(
        "drop/done",
        "in a line",
        DELETED,
        lambda x: ("drop/done/events/1.ndjson", f'{{"by":"{x}"}}'),
    ),
    Shape(
        "drop/done, .gz",
        "in a line",
        DELETED,
        lambda x: ("drop/done/users/2.csv.gz", f"a\n1,{x},2\n"),
    ),
    Shape("drop/failed", "its name", DELETED, lambda x: (f"drop/failed/users/{x}.csv", "a,b\n")),
    Shape(
        "Dagster's logs of steps",
        "in a line",
        DELETED,
        lambda x: ("dagster/storage/1/compute_logs/a.err", f"for {x}.\n"),
    ),
    Shape(
        "dbt's results",
        "an argument",
        DELETED,
        lambda x: ("dbt/run_results.json", json.dumps({"args": f"--user-id {x}"})),
    ),
    Shape(
        "Dagster's history",
        "in SQLite",
        LEFT,
        lambda x: ("dagster/history/runs.db", f"\0 {x}\0"),
        "dagster/history/runs.db",
    ),
    Shape(
        "drop/events",
        "waits to be loaded",
        LEFT,
        lambda x: ("drop/events/3.ndjson", f'{{"by":"{x}"}}'),
        "drop/events/3.ndjson",
    ),
]
LOADED_FILE = Shape("staging.loads.source", "a file's name", REPLACED, lambda x: f"{x}.ndjson")
SHAPES = [*EVENTS, *REFUSED, *ENTITIES, *ROWS, *FILES, LOADED_FILE]


@pytest.fixture(scope="module")
def several(servers) -> Iterator[psycopg.Connection]:
    only = [
        "top_pages_daily", "sessions", "traffic_sources_daily", "api_performance_hourly",
        "chat_events", "ingest_reconciliation_daily", "ingest_loss_daily",
    ]  # fmt: skip
    with warm_warehouse(servers(18), only) as connection:
        yield connection


@pytest.fixture
def planted(
    several: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[psycopg.Connection, Path]]:
    """A warehouse, and a home folder of its own; the server is elsewhere."""
    start_afresh(several)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("WAREHOUSE_HOME", str(home))
    settings.cache_clear()
    yield several, home
    monkeypatch.undo()
    settings.cache_clear()


# A text that begins as JSON does, and is none.
NO_JSON = {"source": "facebook", "medium": "paid", "name": "{{campaign.name}}"}


def lines_of(x: str) -> list[str]:
    """Every event and refused line, and beside them events of another that stay as they are."""
    browser = {"source": "web", "consent": {"analytics": True}, "producer": "edge"}
    sent = []
    for number, shape in enumerate([*EVENTS, None]):
        one = {
            "event_id": f"00000000-0000-4000-8000-{number:012}",
            "event": "page_view",
            "timestamp": (AS_OF - 20 * DAY + number * MINUTE).isoformat(),
            "actor": {"client_id": "acme", "user_id": "bob"},
        }
        changes = shape.write(x) if shape else {"context": {"campaign": NO_JSON}}
        context = browser | {"page": {"path": "/"}, "sequence": number} | changes.pop("context", {})
        sent.append(json.dumps(one | {"context": context} | changes))
    return [*sent, *(shape.write(x) for shape in REFUSED)]


def plant(connection: psycopg.Connection, directory: Path, home: Path, x: str) -> None:
    loaded = directory / LOADED_FILE.write(x)
    loaded.write_text("\n".join(lines_of(x)) + "\n")
    counts = load(open_source(str(loaded))).counts
    assert (counts.accepted, counts.rejected) == (len(EVENTS) + 1, len(REFUSED))
    for number, shape in enumerate(ENTITIES):
        kind, row = shape.write(x)
        path = directory / f"{number}.ndjson"
        path.write_text(json.dumps(row))
        load_entities(kind, open_source(str(path)))
    for shape in ROWS:
        statement, given = shape.write(x)
        connection.execute(f"insert into warehouse.{statement}", [given])
    for shape in FILES:
        name, content = shape.write(x)
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(
            gzip.compress(content.encode()) if name.endswith("gz") else content.encode()
        )
    build_at(AS_OF)


def spellings(x: str) -> re.Pattern[bytes]:
    """What the fresh search greps for, in any case."""
    plain = x.encode()
    ways = [
        plain, quote(x, safe="").encode(), quote(quote(x, safe=""), safe="").encode(),
        json.dumps(x)[1:-1].encode(), x.replace("@", "\\u0040").encode(), plain.hex().encode(),
        plain.swapcase().hex().encode(), base64.b64encode(plain).rstrip(b"=")[:-1],
        _in_escapes(x).encode(),
    ]  # fmt: skip
    return re.compile(b"|".join(map(re.escape, ways)), re.IGNORECASE)


def fresh_search(connection: psycopg.Connection, home: Path, x: str) -> set[str]:
    """Grep a dump of the whole database, the planner's statistics and all files below a folder."""
    dump = subprocess.run(
        [
            embedded.program("pg_dump"), "--large-objects", "--username", "postgres",
            "--host", connection.info.host, connection.info.dbname,
        ],
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    found, place = set(), b"?"
    for line in dump.splitlines():
        if begun := re.match(rb"COPY ([^ ]+) ", line):
            place = begun[1]
        elif line == b"\\.":
            place = b"?"
        if spellings(x).search(line):
            found.add(re.sub(r"raw_events_\d+_\d+", "raw_events", place.decode()))
    statistics = rows(
        connection,
        "select distinct schemaname || '.' || tablename from pg_stats where "
        "most_common_vals::text || coalesce(histogram_bounds::text, '') ilike %s",
        f"%{x}%",
    )
    found |= {f"statistics of {table}" for (table,) in statistics}
    for path in home.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            content = gzip.decompress(content) if path.suffix == ".gz" else content
            if spellings(x).search(content + path.name.encode()):
                found.add(str(path.relative_to(home)))
    return found


def expected() -> set[str]:
    return {
        place for shape in SHAPES if shape.becomes in (NOT_SEARCHED, LEFT)
        for place in shape.table.split()
    }  # fmt: skip


@pytest.mark.deep
@pytest.mark.parametrize("x", IDENTIFIERS)
def test_a_search_that_shares_nothing_finds_what_the_receipt_says_is_not_searched(
    planted: tuple[psycopg.Connection, Path],
    tmp_path: Path,
    x: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    connection, home = planted
    assert len(SHAPES) >= 30
    plant(connection, tmp_path, home, x)
    before = fresh_search(connection, home, x)
    assert before > expected()

    receipt = erase(Subject(SubjectKind.USER, x), "dpo")
    assert (receipt.state, receipt.found, receipt.older_snapshots) == ("verified", {}, 0)
    count = lambda what: sum(shape.becomes == what for shape in EVENTS)  # noqa: E731
    assert receipt.removed["staging.raw_events"] == count(REMOVED)
    assert receipt.changed["staging.raw_events"] == count(CUT)
    assert receipt.removed["staging.rejected_events"] == len(REFUSED) + 1
    assert sum(receipt.files_removed.values()) == sum(s.becomes == DELETED for s in FILES)
    assert receipt.files_left == {"home/dagster": 1, "drop/events": 1}
    statistics = {f"statistics of {table}" for table in expected()}
    after = fresh_search(connection, home, x)
    assert after - statistics == expected()

    with capsys.disabled():
        show_result(receipt, before, after, x)
    # Where it was cut, the rest stays, and marts are those of a rebuild.
    assert rows(connection, "select distinct path from marts.top_pages_daily order by 1") == [
        ("/",), ("/users/(erased)/orders",),
    ]  # fmt: skip
    endpoints = "select distinct endpoint from marts.api_performance_hourly"
    assert rows(connection, endpoints) == [("GET /v1/users/(erased)",)]
    assert unexplained(connection) == 0
    marts = rows_of_models(connection)
    build_at(AS_OF, full_refresh=True)
    assert rows_of_models(connection) == marts

    # What comes again does not bring it back, nor what would come for the first time.
    again = tmp_path / "again.ndjson"
    moved = [line.replace("0000-4000-", "0001-4000-") for line in lines_of(x)]
    again.write_text("\n".join([*lines_of(x), *moved]) + "\n")
    counts = load(open_source(str(again))).counts
    assert counts.suppressed_erased == 2 * (count(REMOVED) + len(REFUSED))
    assert counts.duplicates == counts.accepted == count(CUT) + count(NOT_SEARCHED) + 1
    build_at(AS_OF)
    assert fresh_search(connection, home, x) - statistics == expected()
    assert unexplained(connection) == 0
    marts = rows_of_models(connection)
    build_at(AS_OF, full_refresh=True)
    assert rows_of_models(connection) == marts


def show_result(receipt: erasing.Receipt, before: set[str], after: set[str], x: str) -> None:
    """Print what the erasure says and what the fresh search finds, for who asks for it."""
    if "WAREHOUSE_SHOW_RECEIPT" not in os.environ:
        return
    print(f"\n{x}")
    emit_receipt(receipt, json=False)
    print("A fresh search found it before in:", ", ".join(sorted(before)))
    print("and finds it after in:", ", ".join(sorted(after)))


def test_a_large_object_that_holds_a_subject_keeps_a_receipt_from_being_verified(
    planted: tuple[psycopg.Connection, Path], tmp_path: Path
) -> None:
    connection, _ = planted
    made = value(
        connection, "select lo_from_bytea(0, %s)", b'{"by": "%b"}' % IDENTIFIERS[0].encode()
    )
    subject = Subject(SubjectKind.USER, IDENTIFIERS[0])
    with pytest.raises(EraseError, match=r"large objects \(1\).*at `removed`.*same command again"):
        erase(subject, "dpo")
    connection.execute("select lo_unlink(%s)", [made])
    assert erase(subject, "dpo").state == "verified"


def test_a_receipt_waits_for_who_still_sees_the_old_rows_and_says_if_they_stay(
    planted: tuple[psycopg.Connection, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, _ = planted
    monkeypatch.setattr(erasing, "PATIENCE_SECONDS", 0.3)
    subject = Subject(SubjectKind.USER, IDENTIFIERS[0])
    with psycopg.connect(connection.info.dsn) as reader:
        reader.execute("set transaction isolation level repeatable read")
        reader.execute("select count(*) from staging.raw_events")
        assert erase(subject, "dpo").older_snapshots == 1
    assert erase(subject, "dpo").older_snapshots == 0
