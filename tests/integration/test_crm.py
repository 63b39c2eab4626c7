"""The CRM that is shipped as a source: what is pulled from it equals the same facts in files."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ingestion.load.entities import EntityKind
from ingestion.sample.crm import Crm, draw_crm, fill_crm
from ingestion.sample.timeline import SAMPLE_AS_OF
from tests.conftest import Server
from tests.support.building import (
    build_at,
    land,
    land_entities,
    rows_of_models,
    start_afresh,
    warm_warehouse,
)
from tests.support.lines import rows, value
from tests.support.sources import pull

# What is in these is about loads, of which a pull makes others.
OF_LOADS = {"warehouse_events", "ingest_reconciliation_daily", "mart_status"}


@pytest.fixture(scope="module")
def drawn() -> Crm:
    return draw_crm()


@pytest.fixture
def crm(
    servers: Callable[[int], Server], monkeypatch: pytest.MonkeyPatch, drawn: Crm
) -> Iterator[psycopg.Connection]:
    """Give a connection to a CRM, which the environment points to."""
    server = servers(18)
    url = server.new_database("template0")
    monkeypatch.setenv("CRM_DATABASE_URL", url)
    with psycopg.connect(url, autocommit=True) as connection:
        fill_crm(connection, drawn)
        yield connection
    server.drop_database(url)


def test_every_table_becomes_what_it_says_and_nobody_s_name_leaves_the_crm(
    warehouse: psycopg.Connection, crm: psycopg.Connection, drawn: Crm
) -> None:
    pulled = pull("crm")
    assert all(one.error is None for one in pulled.values())
    assert all(one.counts.accepted == one.counts.received > 0 for one in pulled.values())
    found = rows(
        warehouse, "select client_id, event, timestamp, actor, properties from staging.raw_events"
    )
    expected = [
        (event.actor["client_id"], event.name, event.at, event.actor, event.properties or {})
        for event in drawn.events
    ]
    assert sorted(map(_shown, found)) == sorted(map(_shown, expected))
    people = rows(crm, "select name, email, phone from leads limit 20")
    staged = repr(rows(warehouse, "select * from staging.raw_events"))
    staged += repr(rows(warehouse, "select * from staging.clients"))
    for name in (*sum(people, ()), "talk about a visit", "owner@"):
        assert name not in staged
    # A second time nothing is new, and nothing is missed or deleted.
    assert not sum(one.counts.accepted for one in pull("crm", full=True).values())


def _shown(event: tuple[Any, ...]) -> str:
    return json.dumps([event[-1] or {}, *event[:-1]], sort_keys=True, default=str)


@pytest.mark.deep
def test_marts_of_pulled_rows_equal_those_of_the_same_facts_in_files(
    servers: Callable[[int], Server], crm: psycopg.Connection, drawn: Crm, tmp_path: Path
) -> None:
    with warm_warehouse(servers(18)) as connection:
        land_entities(tmp_path, EntityKind.CLIENTS, drawn.clients)
        land(
            tmp_path,
            (
                {
                    "event_id": str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))),
                    "event": event.name,
                    "timestamp": event.at.isoformat(),
                    "actor": event.actor,
                    "context": event.context,
                    "properties": event.properties,
                }
                for number, event in enumerate(drawn.events)
            ),
        )
        build_at(SAMPLE_AS_OF)
        of_files = marts(connection)
        start_afresh(connection)
        pull("crm")
        build_at(SAMPLE_AS_OF)
        pulled = marts(connection)
        assert value(connection, "select count(*) from marts.analytics_daily where new_leads > 0")
    assert pulled.keys() == of_files.keys()
    for mart, found in of_files.items():
        assert pulled[mart] == found, mart


def marts(connection: psycopg.Connection) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of all marts, less the ids of events."""
    names = {
        name
        for (name,) in rows(
            connection, "select tablename from pg_tables where schemaname = 'marts'"
        )
    }
    return {
        name: sorted(({k: v for k, v in row.items() if k != "event_id"} for row in found), key=repr)
        for name, found in rows_of_models(connection).items()
        if name in names - OF_LOADS
    }
