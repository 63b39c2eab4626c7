"""A Citus cluster gives the figures of one server, and keeps its promises.

`WAREHOUSE_TEST_CITUS_URL` names it: the URL of a superuser of the coordinator's database, whose
schemas of the warehouse these tests drop. `make test-deep` runs them with a stand-in for Citus.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from ingestion.load import chunks
from ingestion.load.loader import load
from ingestion.sources.files import open_source
from orchestration.operations.verify import verify
from tests.conftest import Server, settings_of
from tests.integration.test_access import OF_ANALYSTS, OF_TENANTS
from tests.support.building import build_at, rows_of_models
from tests.support.clusters import (
    assert_equal,
    assert_placed,
    assert_rules_are_kept,
    distributed,
    everything,
    on_cluster,
    sample_in_two_parts,
    tenants_in_two_parts,
)
from tests.support.lines import clean_file, rows, value
from tests.support.people import people
from tests.support.processes import finish, start
from warehouse import embedded
from warehouse.schema.migrate import migrate
from warehouse.settings import PROJECT_DIR, Settings, settings

# A user of the sample.
SOMEONE = "user-0001"

CITUS_URL = "WAREHOUSE_TEST_CITUS_URL"
OURS = ("staging", "warehouse", "intermediate", "marts", "export", "dagster")


@pytest.fixture(params=[pytest.param("stand-in", marks=pytest.mark.deep), "cluster"])
def cluster(
    request: pytest.FixtureRequest, servers: Callable[[int], Server]
) -> Iterator[psycopg.Connection]:
    """A fresh warehouse on a cluster, or on the stand-in; the settings point to it."""
    with ExitStack() as stack:
        if request.param == "stand-in":
            server = servers(18)
            url = server.new_database()
            stack.callback(server.drop_database, url)
            stack.enter_context(server.environment(url))
            connection = stack.enter_context(psycopg.connect(url, autocommit=True))
            stack.enter_context(distributed(connection))
            yield connection
            return
        if not (url := os.environ.get(CITUS_URL)):
            pytest.skip(f"{CITUS_URL} names no cluster")
        home = Path(tempfile.mkdtemp(prefix="wh-"))
        stack.callback(shutil.rmtree, home)
        stack.enter_context(settings_of(home, 18, url))
        stack.enter_context(on_cluster())
        connection = stack.enter_context(psycopg.connect(url, autocommit=True))
        for schema in OURS:
            connection.execute(f"drop schema if exists {schema} cascade")
        assert migrate().for_dba == []
        yield connection


# Only on a real one: tests/integration/test_cluster.py compares a smaller story on the stand-in.
@pytest.mark.parametrize("cluster", ["cluster"], indirect=True)
@pytest.mark.timeout(1_800)
def test_a_cluster_gives_the_figures_of_one_server(
    cluster: psycopg.Connection,
    warehouse_beside: Callable[[], AbstractContextManager[psycopg.Connection]],
    tmp_path: Path,
) -> None:
    on_the_cluster = everything(cluster, sample_in_two_parts(tmp_path / "cluster"), SOMEONE)
    assert_placed(cluster)
    assert_rules_are_kept(cluster)
    wrong = [one for one in verify([], 20, seed=1) if one.skipped or one.differing_rows]
    assert wrong == []
    salts = rows(cluster, "select day, salt from staging.visitor_salts")
    with warehouse_beside() as one_server:
        # With salts of its own, all visitors would have other hashes.
        one_server.cursor().executemany("insert into staging.visitor_salts values (%s, %s)", salts)
        assert_equal(
            everything(one_server, sample_in_two_parts(tmp_path / "one"), SOMEONE),
            on_the_cluster,
        )


@pytest.fixture
def warehouse_beside(
    servers: Callable[[int], Server],
) -> Callable[[], AbstractContextManager[psycopg.Connection]]:
    """Give a context of a fresh warehouse on one server."""

    @contextmanager
    def beside() -> Iterator[psycopg.Connection]:
        server = servers(18)
        url = server.new_database()
        with pytest.MonkeyPatch.context() as patch, server.environment(url):
            patch.delenv("WAREHOUSE_CITUS", raising=False)
            settings.cache_clear()
            with psycopg.connect(url, autocommit=True) as connection:
                yield connection
        server.drop_database(url)
        settings.cache_clear()

    return beside


def test_what_a_move_copies_is_enough_to_build_the_same(
    cluster: psycopg.Connection,
    warehouse_beside: Callable[[], AbstractContextManager[psycopg.Connection]],
    tmp_path: Path,
) -> None:
    """By the commands of docs/scaling.md."""
    page = (PROJECT_DIR / "docs" / "scaling.md").read_text("utf-8")
    (command,) = re.findall(r"pg_dump \"\$OLD\" (.*?) > staging.sql", page, re.DOTALL)
    options = command.replace("\\", "").replace("'", "").split()
    assert options.count("-t") > 8
    with warehouse_beside() as old:
        for as_of in tenants_in_two_parts(tmp_path):
            build_at(as_of)
        expected = rows_of_models(old)
        dumped = subprocess.run(
            [embedded.program("pg_dump"), url_of_server(settings()), *options],
            check=True, capture_output=True,
        ).stdout  # fmt: skip
    months = "select array(select generate_series('2026-01-01'::date, now(), '1 month')::date)"
    cluster.execute("select staging.add_raw_partitions(%s)", (value(cluster, months),))
    subprocess.run(
        [embedded.program("psql"), url_of_server(settings()), "--quiet", "--single-transaction",
         "--set", "ON_ERROR_STOP=on"],
        check=True, input=dumped, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    build_at(as_of)
    assert rows_of_models(cluster) == expected


def url_of_server(current: Settings) -> str:
    assert current.server_url is not None
    return current.server_url.get_secret_value()


def test_on_a_cluster_each_event_lands_once_from_loads_side_by_side(
    cluster: psycopg.Connection, tmp_path: Path
) -> None:
    file = tmp_path / "same.ndjson"
    file.write_bytes(clean_file(3_000))
    loads = [start("load", "--json", file) for _ in range(3)]
    total: Counter[str] = Counter()
    for process in loads:
        finished = finish(process)
        assert (finished.code, finished.errors) == (0, "")
        total += Counter(finished.answer["total"])
    assert (total["accepted"], total["duplicates"]) == (3_000, 6_000)
    assert value(cluster, "select count(*) from staging.raw_events") == 3_000
    keys = "select count(*) from (select distinct client_id, event_id from staging.raw_events) as k"
    assert value(cluster, keys) == 3_000


def test_on_a_cluster_who_sees_a_batch_after_waiting_for_its_commit_sees_all_of_it(
    cluster: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a build does when it fixes its high-water mark."""
    monkeypatch.setattr(chunks, "CHUNK_LINES", 200)
    file = tmp_path / "many.ndjson"
    file.write_bytes(clean_file(20_000))
    loading = threading.Thread(target=load, args=(open_source(str(file)),))
    loading.start()
    looks, missing = 0, []
    while loading.is_alive() or looks == 0:
        with cluster.transaction():
            cluster.execute("lock table warehouse.lock_batch_seq in row share mode")
            seen = "select coalesce(max(batch_seq), 0), sum(accepted) from staging.event_batches"
            ((last, accepted),) = rows(cluster, seen)
        landed = value(
            cluster,
            "select count(*) from staging.raw_events as e inner join staging.event_batches as b "
            "on e.batch_id = b.batch_id where b.batch_seq <= %s",
            last,
        )
        looks += 1
        if landed != (accepted or 0):
            missing.append((last, accepted, landed))
    loading.join()
    assert missing == []
    assert value(cluster, "select sum(accepted) from staging.event_batches") == 20_000


def test_on_a_cluster_every_role_reads_the_marts_and_rows_that_it_should(
    cluster: psycopg.Connection, tmp_path: Path
) -> None:
    for as_of in tenants_in_two_parts(tmp_path):
        build_at(as_of)
    with people(cluster):
        # Their roles can sign in to the workers from now on.
        assert migrate().for_dba == []
        marts = {name for (name,) in rows(cluster, "select viewname from pg_views "
                 "where schemaname = 'marts' union select tablename from pg_tables "
                 "where schemaname = 'marts'")}  # fmt: skip
        assert marts == OF_ANALYSTS.union(*OF_TENANTS.values())
        for name in ("ann_analyst", "acme_app", "acme_user", "rival_app", "site"):
            for mart in sorted(marts):
                assert clients_read(cluster, name, mart) <= may_read(name, mart), (name, mart)


def clients_read(connection: psycopg.Connection, name: str, mart: str) -> set[str]:
    """Return whose rows a person sees in a mart: client ids, or `refused`."""
    column = sql.Identifier("client_id") if mart in OF_TENANTS["client_id"] else sql.Literal("all")
    query = sql.SQL("select distinct {} from {}").format(column, sql.Identifier("marts", mart))
    try:
        with connection.transaction():
            connection.execute(sql.SQL("set local role {}").format(sql.Identifier(name)))
            return {client for (client,) in connection.execute(query)}
    except psycopg.errors.InsufficientPrivilege:
        return {"refused"}


def may_read(name: str, mart: str) -> set[str]:
    if name == "ann_analyst":
        return {"acme", "rival", "_platform", "none", "all"}
    of_tenants = set().union(*OF_TENANTS.values())
    if name == "site" or mart not in of_tenants:
        return {"refused"}
    client = name.partition("_")[0]
    return {client, "all"} if mart in OF_TENANTS["user_id"] else {client}
