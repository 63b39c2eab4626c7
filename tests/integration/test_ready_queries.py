"""The ready queries of analysts, in `dbt_project/analyses`."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from ingestion.load.entities import EntityKind, load_entities
from ingestion.load.loader import load
from ingestion.sample import generate
from ingestion.sources.files import open_source
from orchestration.operations import build as builds
from orchestration.operations import queries
from orchestration.operations.queries import ready_queries, run_query
from tests.conftest import Server
from tests.support.building import (
    build_at,
    made_once,
    start_afresh,
    warm_warehouse_with_roles,
)
from tests.support.people import AS_OF as AS_OF_STORY
from tests.support.people import land_both_tenants
from tests.support.processes import run

# Not at the month's very start, so that the month of the last build has chats.
AS_OF = datetime(2026, 4, 29, 12, tzinfo=UTC)
FINDS_NOTHING_YET = {
    # A first build publishes every figure for the first time.
    "figures_restated_lately",
}


@pytest.fixture(scope="module")
def warm(servers: Callable[[int], Server]) -> Iterator[psycopg.Connection]:
    with warm_warehouse_with_roles(servers(18)) as connection:
        yield connection


@pytest.fixture
def built(warm: psycopg.Connection, tmp_path: Path) -> psycopg.Connection:
    """A warehouse with the story of two clients, built."""

    def make() -> None:
        land_both_tenants(tmp_path)
        build_at(AS_OF_STORY)

    made_once(warm, "built", make)
    return warm


@pytest.mark.deep
def test_every_ready_query_runs_and_finds_something(warm: psycopg.Connection, tmp_path: Path):
    start_afresh(warm)
    files = generate.write_sample(tmp_path)
    for kind in EntityKind:
        load_entities(kind, open_source(str(files.entities[kind])))
    for file in files.events:
        load(open_source(str(file)))
    build_at(AS_OF)
    found = {name: len(run_query(query, {}).rows) for name, query in ready_queries().items()}
    assert {name for name, count in found.items() if count == 0} == FINDS_NOTHING_YET


def test_every_query_is_declared_and_every_declared_query_is_there() -> None:
    files = (builds.DBT_PROJECT / "analyses").glob("*.sql")
    assert ready_queries().keys() == {file.stem for file in files}


def test_every_query_runs_with_the_rights_of_an_analyst(built: psycopg.Connection) -> None:
    for query in ready_queries().values():
        run_query(query, {})


@pytest.mark.parametrize(
    ("statement", "refused"),
    [
        # What an analyst may not read, and what not even a grant lets a query do.
        ("select * from staging.clients", psycopg.errors.InsufficientPrivilege),
        ("delete from marts.stats_daily", psycopg.errors.ReadOnlySqlTransaction),
    ],
)
def test_a_query_reads_marts_and_nothing_else(
    built: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    statement: str,
    refused: type[psycopg.Error],
) -> None:
    built.execute("grant delete on marts.stats_daily to warehouse_analyst")
    monkeypatch.setattr(queries, "_compiled", lambda: {"mine": statement})
    with pytest.raises(refused):
        run_query(queries.Query("mine", "", ()), {})
    built.execute("revoke delete on marts.stats_daily from warehouse_analyst")


def test_the_queries_are_listed_with_a_sentence_each(built: psycopg.Connection) -> None:
    listed = run("query")
    assert (listed.code, listed.errors) == (0, "")
    for query in ready_queries().values():
        assert query.name in listed.output
        assert query.description in listed.output
    assert "rows=20" in listed.output
    (first, *_) = json.loads(run("query", "--json").output)["queries"]
    assert first["name"] == "cost_by_model_and_week"
    assert first["parameters"][0]["type"] == "date"


def test_a_query_prints_a_table_csv_or_json(built: psycopg.Connection) -> None:
    name = "client_weeks_compared"
    table = run("query", name)
    assert (table.code, table.errors) == (0, "")
    assert "name of acme" in table.output
    printed = run("query", name, "--csv").output
    rows = list(csv.DictReader(io.StringIO(printed)))
    assert [row["client_id"] for row in rows] == ["acme", "rival"]
    assert rows[0]["week_start"] == "2026-01-19"
    assert rows[0]["leads_change_percent"] == ""
    found = json.loads(run("query", name, "--json").output)
    assert (found["query"], len(found["rows"])) == (name, 2)
    assert found["rows"][0]["week_start"] == "2026-01-19"


def test_a_parameters_value_is_bound_and_never_becomes_sql(built: psycopg.Connection) -> None:
    query = ready_queries()["client_weeks_compared"]
    assert [row[0] for row in run_query(query, {"client_id": "acme"}).rows] == ["acme"]
    hostile = "acme' or true; drop table marts.analytics_weekly; --"
    assert run_query(query, {"client_id": hostile}).rows == []
    assert len(run_query(query, {}).rows) == 2
    by_model = ready_queries()["cost_by_model_and_week"]
    assert run_query(by_model, {"since": "2026-01-27"}).rows == run_query(by_model, {}).rows
    assert run_query(by_model, {"since": "2026-02-02"}).rows == []
    heaviest = ready_queries()["documents_people_struggle_with"]
    assert run_query(heaviest, {"rows": "0"}).rows == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no_such"], "there is no query 'no_such'"),
        (["client_weeks_compared", "--param", "client=acme"], "it takes client_id"),
        (["mrr_bridge_by_month", "--param", "a=b"], "it takes no parameters"),
        (["client_weeks_compared", "--param", "acme"], "'acme' is not NAME=VALUE"),
        (["heaviest_users_of_last_month", "--param", "rows=ten"], "rows must be of type integer"),
        (["cost_by_model_and_week", "--param", "since=monday"], "since must be of type date"),
        (["--param", "a=b"], "name the query to run"),
        (["client_weeks_compared", "--csv", "--json"], "can't be used together"),
    ],
)
def test_wrong_usage_is_explained(
    built: psycopg.Connection, arguments: list[str], message: str
) -> None:
    refused = run("query", *arguments)
    assert (refused.code, refused.output) == (2, "")
    assert message in " ".join(refused.errors.replace("│", "").split())


def test_before_the_first_build_a_query_says_what_to_do(warm: psycopg.Connection) -> None:
    start_afresh(warm, keeps_code=False)
    refused = run("query", "client_weeks_compared")
    assert (refused.code, refused.output) == (1, "")
    assert "Run `warehouse build`" in refused.errors
