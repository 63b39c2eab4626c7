"""The ready queries of analysts, in `dbt_project/analyses`."""

from __future__ import annotations

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
from tests.conftest import Server
from tests.support.building import build_at, warm_warehouse

# Not at the month's very start, so that the month of the last build has chats.
AS_OF = datetime(2026, 4, 29, 12, tzinfo=UTC)
FINDS_NOTHING_YET = {
    # A first build publishes every figure for the first time.
    "figures_restated_lately",
}


@pytest.fixture(scope="module")
def warm(servers: Callable[[int], Server]) -> Iterator[psycopg.Connection]:
    with warm_warehouse(servers(18)) as connection:
        yield connection


@pytest.mark.deep
def test_every_ready_query_runs_and_finds_something(warm: psycopg.Connection, tmp_path: Path):
    files = generate.write_sample(tmp_path)
    for kind in EntityKind:
        load_entities(kind, open_source(str(files.entities[kind])))
    for file in files.events:
        load(open_source(str(file)))
    build_at(AS_OF)
    with builds.environment(builds.dbt_environment()):
        from dbt.cli.main import dbtRunner

        compiled = dbtRunner().invoke(["--quiet", "compile", "--select", "resource_type:analysis"])
    assert compiled.success, compiled.exception
    # They are analysts': what these may read is enough.
    warm.execute("set role warehouse_analyst")
    rows = {
        result.node.name: len(warm.execute(result.node.compiled_code).fetchall())
        for result in compiled.result
    }
    files = (builds.DBT_PROJECT / "analyses").glob("*.sql")
    assert rows.keys() == {file.stem for file in files}
    assert {name for name, count in rows.items() if count == 0} == FINDS_NOTHING_YET
