"""A misspelt member is kept and reported: by the load, in the ledger, in a mart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from ingestion.load import chunks
from ingestion.privacy.suppression import Subject, SubjectKind
from orchestration.operations.erase import erase
from orchestration.operations.expire import expire
from tests.conftest import Server
from tests.support.building import build_at, start_afresh, warm_warehouse
from tests.support.lines import line, rows, value
from tests.support.processes import run

MISSPELT = {"token_prompt": 5, "tokens_completion": 1}
AS_OF = datetime(2026, 2, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def warm(servers: Callable[[int], Server]) -> Iterator[psycopg.Connection]:
    with warm_warehouse(servers(18), only=["trust", "dimensions"]) as connection:
        yield connection


@pytest.fixture
def warehouse(warm: psycopg.Connection) -> psycopg.Connection:
    start_afresh(warm)
    return warm


def counted(connection: psycopg.Connection) -> list[tuple[object, ...]]:
    return rows(
        connection,
        "select event, member, date, events, nearest_known from marts.unknown_members "
        "order by event, member",
    )


def test_a_load_names_unknown_members_and_the_mart_counts_them_by_day_of_receipt(
    warehouse: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "events.ndjson"
    chats = [line(number, event="chat", properties=MISSPELT) for number in range(3)]
    page = line(4, event="chat", context={"page": {"pth": "/"}, "colour": "red"})
    file.write_bytes(b"".join([*chats, *chats[:1], page, line(5), line(6, actor={"x": 1})]))
    build_at(AS_OF)
    loaded = run("load", file)
    assert loaded.code == 0
    assert "chat: properties.token_prompt 3 times; did you mean properties.tokens_prompt?" in (
        loaded.errors
    )
    assert "chat: context.page.pth once; did you mean context.page.path?" in loaded.errors
    assert "chat: context.colour once\n" in loaded.errors

    today = datetime.now(UTC).date()
    expected = [
        ("chat", "context.colour", today, 1, None),
        ("chat", "context.page.pth", today, 1, "context.page.path"),
        ("chat", "properties.token_prompt", today, 3, "properties.tokens_prompt"),
    ]
    assert counted(warehouse) == expected
    # What comes again is a duplicate, and not kept.
    again = run("load", file, "--json").answer["files"][0]
    assert (again["duplicates"], again["unknown_members"]) == (6, [])
    assert counted(warehouse) == expected

    warehouse.execute(
        "update staging.event_batches set received_at = received_at - interval '401 days'"
    )
    assert expire(dry_run=True).unknown_members == 3
    assert value(warehouse, "select count(*) from staging.unknown_members") == 3
    assert expire().unknown_members == 3
    assert counted(warehouse) == []


def test_what_several_batches_hold_is_one_line_of_the_loads_report(
    warehouse: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ingestion.load.loader import load
    from ingestion.sources.files import open_source

    monkeypatch.setattr(chunks, "CHUNK_LINES", 2)
    file = tmp_path / "events.ndjson"
    file.write_bytes(
        b"".join(line(number, event="chat", properties=MISSPELT) for number in range(5))
    )
    (member,) = load(open_source(str(file))).unknown_members
    assert (member.member, member.events) == ("properties.token_prompt", 5)
    assert rows(warehouse, "select events from staging.unknown_members order by batch_seq") == [
        (2,), (2,), (1,),
    ]  # fmt: skip


def test_a_name_that_is_an_erased_identifier_is_gone_with_the_subject(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    file = tmp_path / "events.ndjson"
    file.write_bytes(
        line(1, properties={"ann@example.com": 1})
        + line(2, actor={"client_id": "acme", "user_id": "ann@example.com"})
        + line(3, properties={"bob": 1})
    )
    assert run("load", file).code == 0
    build_at(AS_OF)
    receipt = erase(Subject(SubjectKind.USER, "ann@example.com"), "dpo")
    assert receipt.state == "verified"
    assert receipt.removed["staging.unknown_members"] == 1
    assert [member for _, member, *_ in counted(warehouse)] == ["properties.bob"]


def test_status_lists_clients_that_no_entity_knows(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    file, entities = tmp_path / "events.ndjson", tmp_path / "clients.csv"
    names = ["acme", "amce", *(f"client-{number:02}" for number in range(25))]
    file.write_bytes(b"".join(line(n, actor={"client_id": name}) for n, name in enumerate(names)))
    entities.write_text(
        "client_id,created_at,updated_at\nacme,2025-01-01T00:00:00Z,2025-01-01T00:00:00Z\n"
    )
    assert run("load", file).code == run("load-entities", "clients", entities).code == 0
    build_at(AS_OF)
    people = run("status")
    assert "Clients known from events alone (26): amce, client-00," in people.errors
    assert "client-18, …. Is a client_id misspelt" in people.errors
    inferred = run("status", "--json").answer["inferred_clients"]
    assert (inferred["count"], len(inferred["client_ids"])) == (26, 20)
