"""Builds plan with what their tables hold: they take statistics themselves, and wait for nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import psycopg
import pytest
from psycopg import sql

from ingestion.load.loader import load
from ingestion.sources.files import open_source
from tests.bench.ai_usage import CHATS
from tests.bench.clients import LEAD_EVENTS
from tests.bench.crowds import CROWDS, write_crowd
from tests.bench.events import write_events
from tests.bench.increments import AS_OF
from tests.conftest import Server
from tests.support.building import build_at, warm_warehouse

pytestmark = pytest.mark.deep

# Rows may be rewritten up to a tenth, or a few thousand, before statistics are taken anew.
LARGEST_SHARE = 0.1
MOST_ROWS = 10_000


@pytest.fixture(scope="module")
def warehouse(servers: Callable[[int], Server]) -> Iterator[psycopg.Connection]:
    """A warehouse on a server that takes no statistics by itself."""
    server = servers(18)
    server.set("autovacuum", "off")
    with warm_warehouse(server) as connection:
        yield connection
    server.set("autovacuum", "on")


def test_after_each_build_the_planner_knows_how_much_there_is(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    # Of empty tables it knows that they are empty.
    build_at(AS_OF)
    file = tmp_path / "events.ndjson"
    for number, count in enumerate((60, 3_000)):
        for write in (
            lambda count=count, number=number: write_events(file, count, number * 1_000),
            lambda count=count, number=number: LEAD_EVENTS.write(file, count, None, number),
            lambda count=count, number=number: CHATS.write(file, count, None, number),
        ):
            write()
            load(open_source(str(file)))
        for crowd in CROWDS:
            write_crowd(file, crowd.write(Random(number), count, 1), number)
            load(open_source(str(file)))
        build_at(AS_OF)
        assert off_by_more(warehouse, ["intermediate", "marts"]) == {}
        # Of staging a build takes them as it begins, a few rows aside.
        assert off_by_more(warehouse, ["staging"], smallest=50) == {}


def off_by_more(
    connection: psycopg.Connection, schemas: list[str], smallest: int = 0
) -> dict[str, tuple[int, int]]:
    """Return rows known and rows there, of the tables where the one is far from the other."""
    tables = connection.execute(
        "select n.nspname, c.relname, c.reltuples from pg_class as c "
        "inner join pg_namespace as n on c.relnamespace = n.oid "
        "where n.nspname = any(%s) and c.relkind = 'r'",
        (schemas,),
    ).fetchall()
    assert len(tables) > 5
    found = {}
    for schema, name, known in tables:
        table = sql.Identifier(schema, name)
        row = connection.execute(sql.SQL("select count(*) from {}").format(table)).fetchone()
        assert row is not None
        rows = row[0]
        off = abs(max(known, 0) - rows)
        if rows > smallest and off > min(LARGEST_SHARE * rows, MOST_ROWS):
            found[f"{schema}.{name}"] = (int(known), rows)
    return found


def test_a_column_that_is_looked_up_by_has_statistics(warehouse: psycopg.Connection) -> None:
    without = warehouse.execute(
        "select c.relname, a.attname from pg_class as c "
        "inner join pg_namespace as n on c.relnamespace = n.oid and n.nspname = 'intermediate' "
        "inner join pg_attribute as a on a.attrelid = c.oid and a.attname = 'client_id' "
        "left join pg_stats as s on s.schemaname = n.nspname and s.tablename = c.relname "
        "and s.attname = a.attname "
        "where c.relkind = 'r' and c.reltuples > 0 and s.attname is null"
    ).fetchall()
    assert without == []
