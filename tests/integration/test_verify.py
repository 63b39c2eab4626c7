"""Verification: random cells of each mart are recomputed and compared, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from psycopg import sql

from ingestion.load.entities import EntityKind, load_entities
from ingestion.load.loader import load
from ingestion.sample import generate
from ingestion.sources.files import open_source
from orchestration.operations.notifications import FAILING
from orchestration.operations.verify import Verification, verifiable_models, verify
from tests.conftest import Server
from tests.support.building import (
    build_at,
    land_entities,
    made_once,
    rows_of_models,
    start_afresh,
    warm_warehouse_with_roles,
)
from tests.support.people import AS_OF, land_both_tenants
from tests.support.processes import run
from warehouse.errors import WarehouseError

EVERY_CELL = 100_000
# Draws until the period of a tampered row was among them.
DRAWS = 40


@pytest.fixture(scope="module")
def warm(servers: Callable[[int], Server]) -> Iterator[psycopg.Connection]:
    with warm_warehouse_with_roles(servers(18)) as connection:
        yield connection


@pytest.fixture
def built(warm: psycopg.Connection, tmp_path: Path) -> psycopg.Connection:
    """A warehouse with the story of two clients, built in two steps."""

    def make() -> None:
        land_both_tenants(tmp_path)
        build_at(AS_OF - timedelta(days=10))
        build_at(AS_OF)

    made_once(warm, "built", make)
    return warm


def found_in(model: str, cells: int = EVERY_CELL) -> list[Verification]:
    """Verify a model until something is found; return what was found."""
    for seed in range(DRAWS):
        if found := [one for one in verify([model], cells, seed) if one.differing_rows]:
            return found
    return []


def test_what_builds_have_left_is_as_it_should_be(built: psycopg.Connection):
    before = rows_of_models(built)
    found = list(verify([], EVERY_CELL, seed=1))
    assert [one.model for one in found] == verifiable_models(built)
    assert [one for one in found if one.skipped or one.differing_rows] == []
    assert sum(one.verified_cells or 0 for one in found) > len(found)
    status = built.execute(
        "select count(*), count(verified_at), min(verified_cells) from marts.mart_status "
        "where row_count is not null and mart in (select model from warehouse.verifications)"
    ).fetchone()
    assert status is not None
    assert status[0] == status[1] > 20
    assert status[2] is not None
    # mart_status says that they are verified; nothing else has changed.
    after = rows_of_models(built)
    assert {name for name in after if after[name] != before[name]} <= {"mart_status"}


@pytest.mark.parametrize(
    ("tamper", "columns"),
    [
        ("update marts.analytics_daily set new_leads = new_leads + 1", ["new_leads"]),
        ("delete from marts.analytics_daily where extract(day from date)::int % 2 = 0", []),
        (
            "insert into marts.analytics_daily select (jsonb_populate_record(d, "
            "jsonb_build_object('date', d.date - 700))).* from marts.analytics_daily as d",
            [],
        ),
    ],
    ids=["changed", "missing", "surplus"],
)
def test_a_tampered_row_is_found(built: psycopg.Connection, tamper: str, columns: list[str]):
    built.execute(tamper.encode())
    before = rows_of_models(built)["analytics_daily"]
    (found,) = found_in("analytics_daily")
    assert found.differences
    assert found.differing_columns == columns
    first = found.differences[0]
    assert first["key"].keys() == {"client_id", "date"}
    # It is reported, and left to people.
    assert rows_of_models(built)["analytics_daily"] == before


def test_models_that_pass_say_nothing_about_one_that_fails(built: psycopg.Connection):
    for model in ("analytics_daily", "analytics_weekly"):
        built.execute(
            sql.SQL("update {} set new_leads = new_leads + 1").format(
                sql.Identifier("marts", model)
            )
        )
    for models in (["analytics_daily", "analytics_weekly"], ["analytics_monthly"]):
        run_checks(models)
        assert failing_checks(built) == {
            "equals_a_rebuild: analytics_daily",
            "equals_a_rebuild: analytics_weekly",
        }
    built.execute("update marts.analytics_daily set new_leads = new_leads - 1")
    run_checks(["analytics_daily"])
    assert failing_checks(built) == {"equals_a_rebuild: analytics_weekly"}


def run_checks(models: list[str]) -> None:
    """Run the checks of some models as the job would."""
    # Importing it reads the warehouse.
    from orchestration.definitions.verification import (
        ASSETS,
        VERIFICATION_CHECK,
        verification_checks,
    )

    checks = [dg.AssetCheckKey(ASSETS[model], VERIFICATION_CHECK) for model in models]
    job = dg.define_asset_job("some", dg.AssetSelection.checks(*checks))
    definitions = dg.Definitions(asset_checks=[verification_checks], jobs=[job])
    assert definitions.resolve_job_def("some").execute_in_process().success


def failing_checks(connection: psycopg.Connection) -> set[str]:
    return {check for check, *_ in connection.execute(FAILING)}


def test_what_is_not_built_yet_is_skipped_with_the_reason(
    built: psycopg.Connection, tmp_path: Path
):
    client = built.execute("select client_id, updated_at from staging.clients limit 1").fetchone()
    assert client is not None
    changed = {
        "client_id": client[0],
        "name": "Another name",
        "updated_at": (client[1] + timedelta(days=1)).isoformat(),
    }
    land_entities(tmp_path, EntityKind.CLIENTS, [changed])
    found = list(verify([], 5, seed=1))
    assert {one.skipped for one in found} == {"what it reads has changed since it was built"}
    assert {one.verified_cells for one in found} == {None}


def test_a_view_or_an_unknown_mart_is_refused(built: psycopg.Connection):
    with pytest.raises(WarehouseError, match="no model mart_status to verify"):
        list(verify(["mart_status"], 5, seed=1))


def test_the_command_exits_with_4_if_a_row_differs(built: psycopg.Connection):
    assert run("verify", "--mart", "analytics_daily", "--seed", "7").code == 0
    built.execute("update marts.analytics_daily set jobs_won = jobs_won + 1")
    done = run("verify", "--mart", "analytics_daily", "--seed", "7")
    assert done.code == 4
    assert "jobs_won" in done.output


@pytest.mark.deep
def test_every_model_is_verified_on_the_sample(warm: psycopg.Connection, tmp_path: Path):
    start_afresh(warm)
    files = generate.write_sample(tmp_path)
    for kind in EntityKind:
        load_entities(kind, open_source(str(files.entities[kind])))
    for number, file in enumerate(files.events):
        load(open_source(str(file)))
        build_at(datetime(2026, 4, 20 + number, 12, tzinfo=UTC))
    for seed in range(5):
        assert [one for one in verify([], 50, seed) if one.skipped or one.differing_rows] == []
    unfound = []
    for model in verifiable_models(warm):
        (relation,) = warm.execute(
            "select relation from warehouse.stored_models where model = %s", (model,)
        ).fetchone() or ("",)
        table = sql.SQL(relation)  # type: ignore[arg-type]
        # Every second row is gone, whatever its key is.
        with warm.transaction():
            warm.execute(sql.SQL("create temporary table kept as table {}").format(table))
        warm.execute(
            sql.SQL(
                "delete from {table} where ctid in (select ctid from (select ctid, row_number() "
                "over () as n from {table}) as numbered where n %% 2 = 1)"
            ).format(table=table),
            (),
        )
        if not found_in(model):
            unfound.append(model)
        warm.execute(
            sql.SQL("delete from {table}; insert into {table} table kept; drop table kept").format(
                table=table
            )
        )
    assert unfound == []
