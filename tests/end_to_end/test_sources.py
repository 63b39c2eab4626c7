"""Sources in Dagster: an asset for each stream, where the environment has the source's URL."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import psycopg
import pytest

from tests.conftest import Server
from tests.support.building import parsed_project
from tests.support.sources import TABLES, source_of

if TYPE_CHECKING:
    from orchestration.definitions.sources import SourceDefinitions


@pytest.fixture
def shop(
    warehouse: psycopg.Connection, servers: Callable[[int], Server], tmp_path: Path
) -> Iterator[psycopg.Connection]:
    server = servers(18)
    parsed_project(server)
    url = server.new_database("template0")
    with psycopg.connect(url, autocommit=True) as connection, source_of(tmp_path, url):
        connection.execute(TABLES)
        yield connection
    server.drop_database(url)


def test_a_run_pulls_each_stream_and_one_that_fails_fails_the_run_alone(
    warehouse: psycopg.Connection, shop: psycopg.Connection
) -> None:
    # Imported here, because that parses the dbt project.
    from ingestion.sources.postgres.declared import find_source
    from orchestration.definitions.sources import definitions_of

    made = definitions_of(find_source("shop"))
    defs = dg.Definitions(assets=[made.assets], asset_checks=[made.check], jobs=[made.job])
    job = defs.resolve_job_def("pull_shop")
    assert {one.group_name for one in made.assets.specs} == {"sources"}
    shop.execute("insert into messages (client_id, lead_id) values ('acme', 'l1'), ('acme', 'l2')")
    run = job.execute_in_process()
    assert run.success
    _, messages = run.asset_materializations_for_node("pull_shop")
    assert messages.asset_key == dg.AssetKey(["sources", "shop", "messages"])
    assert messages.metadata["accepted"].value == 2
    assert 0 <= messages.metadata["lag_seconds"].value < 60
    assert was_pulled(made) == {"accounts": True, "messages": True}

    warehouse.execute("update staging.source_cursors set pulled_at = now() - interval '1 hour'")
    shop.execute("alter table messages drop column direction")
    failed = job.execute_in_process(raise_on_error=False)
    (event,) = [one for one in failed.all_events if one.is_step_failure]
    assert 'column "direction" does not exist' in event.step_failure_data.error.message
    (accounts,) = failed.asset_materializations_for_node("pull_shop")
    assert accounts.asset_key == dg.AssetKey(["sources", "shop", "accounts"])
    assert was_pulled(made) == {"accounts": True, "messages": False}


def was_pulled(made: SourceDefinitions) -> dict[str, bool]:
    """Return what the freshness check says of each stream."""
    selection = dg.AssetSelection.checks(made.check)
    run = dg.materialize([made.assets, made.check], selection=selection)
    return {one.asset_key.path[-1]: one.passed for one in run.get_asset_check_evaluations()}


def test_dagster_knows_the_sources_that_have_a_url_and_warns_of_wrong_ones(
    warehouse: psycopg.Connection, shop: psycopg.Connection, tmp_path: Path
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "source.yml").write_text("url: here")
    program = (
        "from orchestration.definitions.code_location import defs\n"
        "from orchestration.definitions.instance import instance_config\n"
        "graph = defs.resolve_asset_graph()\n"
        "for key in graph.get_all_asset_keys():\n"
        "    if key.path[0] == 'sources': print(key.to_user_string())\n"
        "for key in graph.asset_check_keys:\n"
        "    if key.asset_key.path[0] == 'sources': print(key.name)\n"
        "for one in defs.get_repository_def().schedule_defs:\n"
        "    if 'pull' in one.name: print(one.name, one.cron_schedule)\n"
        "print(instance_config()['concurrency']['runs'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=os.environ, check=True
    )
    assert sorted(done.stdout.splitlines()) == sorted(
        [
            "sources/shop/accounts",
            "sources/shop/messages",
            "was_pulled_lately",
            "was_pulled_lately",
            "pull_shop_schedule 8-59/10 * * * *",
            "{'max_concurrent_runs': 7}",
        ]
    )
    assert "source.yml is wrong" in done.stderr
