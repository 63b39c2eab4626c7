"""The warehouse measures itself: machine, database, collector and API."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from orchestration.operations import system_metrics
from orchestration.operations.system_metrics import SystemMetrics
from serving import calls
from tests.conftest import Server, settings_of
from tests.support.api import READERS, served
from tests.support.building import build
from tests.support.collecting import (
    NO_DATABASE,
    collector,
    make_key,
    signup,
    until_landed,
)
from tests.support.lines import rows, value
from tests.support.people import (
    url_of,
    warehouse_with_people,
)
from tests.support.processes import until
from warehouse import private_files
from warehouse.settings import settings

OF_THE_MACHINE = {"cpu_usage", "memory_usage", "disk_free_bytes", "load_average"}
OF_THE_DATABASE = {
    "database_size_bytes",
    "database_connections",
    "cache_hit_ratio",
    "oldest_transaction_seconds",
    "dead_rows",
}
OF_THE_COLLECTOR = {"collector_requests", "collector_errors", "collector_p95_ms"}


@pytest.fixture(scope="module")
def owner(
    servers: Callable[[int], Server], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[psycopg.Connection]:
    """The owner of a warehouse with a home of its own; builds are of the marts of operations."""
    home = tmp_path_factory.mktemp("home")
    private_files.make_home_private(home)
    with (
        warehouse_with_people(servers(18), only=["operations"]) as connection,
        settings_of(
            home, 18, url_of(connection, "postgres"), url_of(connection, "tim_transformer")
        ),
    ):
        yield connection


def latest(owner: psycopg.Connection) -> dict[str, float]:
    """The latest metrics of this host that have landed, by their name."""
    return dict(
        rows(
            owner,
            "select properties ->> 'metric_type', (properties ->> 'metric_value')::float8 "
            "from staging.raw_events where event = 'system_metric' and client_id = '_platform' "
            "and properties ->> 'server_id' = %s order by timestamp",
            socket.gethostname(),
        )
    )


def test_what_the_warehouse_measures_of_itself_is_in_the_marts_of_operations(
    owner: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "WRITE_SECONDS", 0.2)
    key = make_key(owner, "server", client="acme")
    with (
        collector() as running,
        served(owner, settings().home) as api,
        psycopg.connect(owner.info.dsn) as idle,
    ):
        idle.execute("select 1")
        assert running.send(key, signup(1)).status_code == 202
        api.new_key("ann", role=READERS["ann"])
        assert api.get("/v1/marts", "ann").status_code == 200
        assert api.get("/v1/marts").status_code == 401
        assert api.get("/v1/marts/nothing", "ann").status_code == 404
        # Nobody's calls: pages, what somebody guesses, and any method.
        for path in ("/dashboard/", "/sign-in", "/wp-admin", "/v2/secret"):
            api.get(path)
        api.request("PURGE", "/v1/marts", "ann")
        metrics = SystemMetrics()
        metrics.record()
        metrics.record()
        until(
            lambda: (
                value(owner, "select count(*) from staging.raw_events where event = 'api_request'")
                == 3
            ),
            what="the calls have landed",
        )
        # What comes last is written as the API stops.
        monkeypatch.setattr(calls, "WRITE_SECONDS", 60)
        time.sleep(0.4)
        assert api.get("/v1/marts/api_errors?limit=x", "ann").status_code == 400
    until_landed()

    found = latest(owner)
    assert found.keys() == OF_THE_MACHINE | OF_THE_DATABASE | {"spool_bytes"}
    assert 0 <= found["cpu_usage"] <= 100
    assert 0 < found["memory_usage"] < 100
    assert found["disk_free_bytes"] > 0
    assert found["database_size_bytes"] > 1 << 20
    assert found["database_connections"] >= 2
    assert 0 < found["oldest_transaction_seconds"] < 600
    assert 0 < found["cache_hit_ratio"] <= 100
    assert rows(
        owner,
        "select properties ->> 'endpoint', properties ->> 'method', "
        "(properties ->> 'status_code')::int, properties ->> 'error_message', client_id "
        "from staging.raw_events where event = 'api_request' order by timestamp",
    ) == [
        ("/v1/marts", "GET", 200, None, "_platform"),
        ("/v1/marts", "GET", 401, "unauthorized", "_platform"),
        ("/v1/marts/{mart}", "GET", 404, "not_found", "_platform"),
        ("/v1/marts/api_errors", "GET", 400, "bad_request", "_platform"),
    ]
    assert rows(
        owner,
        "select b.source, array_agg(distinct e.event order by e.event) "
        "from staging.event_batches as b inner join staging.raw_events as e using (batch_id) "
        "group by b.source order by b.source",
    ) == [("collector", ["signup"]), ("warehouse", ["api_request", "system_metric"])]

    build()
    assert {
        name for (name,) in rows(owner, "select metric_type from marts.system_metrics_hourly")
    } >= OF_THE_MACHINE | OF_THE_DATABASE | OF_THE_COLLECTOR | {"spool_bytes"}
    assert rows(
        owner,
        "select endpoint, sum(total_calls)::int, sum(error_calls)::int "
        "from marts.api_performance_hourly group by endpoint order by endpoint",
    ) == [
        ("/v1/marts", 2, 1),
        ("/v1/marts/api_errors", 1, 1),
        ("/v1/marts/{mart}", 1, 1),
    ]
    # Each producer's numbers are without gaps.
    assert rows(
        owner,
        "select producer, sum(gaps)::int, sum(dropped)::int from marts.ingest_loss_daily "
        "group by producer order by producer",
    ) == [("warehouse.api", 0, 0), ("warehouse.collector", 0, 0), ("warehouse.metrics", 0, 0)]


def test_metrics_go_on_while_the_database_is_away_and_land_when_it_is_back(
    owner: psycopg.Connection, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = settings().home
    before = value(owner, "select count(*) from staging.raw_events where event = 'system_metric'")
    with settings_of(home, 18, NO_DATABASE):
        metrics = SystemMetrics()
        metrics.record()
        metrics.record()
    said = capfd.readouterr().err
    assert said.count("System metrics of the database can't be read") == 1
    with collector():
        until_landed()
    landed = "select count(*) from staging.raw_events where event = 'system_metric'"
    # Without what only the database knows: twice the machine, twice the spool.
    assert value(owner, landed) == before + 2 * (len(OF_THE_MACHINE) + 1)
    # The database is back: it is measured again.
    metrics.record()
    with collector():
        until_landed()
    assert latest(owner).keys() >= OF_THE_DATABASE


def test_metrics_wait_in_memory_while_the_spool_can_not_be_written_to(
    owner: psycopg.Connection,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spool = tmp_path / "spool"
    # No folder, and none can be made.
    spool.touch()
    monkeypatch.setenv("WAREHOUSE_SPOOL", str(spool))
    settings.cache_clear()
    metrics, stopping = SystemMetrics(), threading.Event()
    monkeypatch.setattr(system_metrics, "FIRST_SECONDS", 0.01)
    monkeypatch.setattr(system_metrics, "INTERVAL_SECONDS", 0.1)
    running = threading.Thread(target=metrics.run, args=(stopping,))
    running.start()
    try:
        until(lambda: "metrics can't be kept: the spool can't" in capfd.readouterr().err)
        assert running.is_alive()
        spool.unlink()
        until(lambda: list(spool.glob("*.own.closed")), what="they are in the spool")
    finally:
        stopping.set()
        running.join()
    (first, *_) = sorted(spool.glob("*.own.closed"))
    # Those of the first reading, too.
    assert b'"sequence":0}' in first.read_bytes()
    settings.cache_clear()


def test_a_replica_that_lags_is_measured(owner: psycopg.Connection) -> None:
    from ingestion.sources.database_metrics import DatabaseMetrics

    owner.execute(
        "create view public.pg_stat_replication as "
        "select pg_current_wal_lsn() - 1000 as replay_lsn "
        "union all select pg_current_wal_lsn() - 5000"
    )
    owner.execute("set search_path = public, pg_catalog")
    try:
        lag = DatabaseMetrics().read(owner)["replication_lag_bytes"]
    finally:
        owner.execute("reset search_path")
        owner.execute("drop view public.pg_stat_replication")
    assert 5_000 <= lag < 1 << 20
    assert "replication_lag_bytes" not in DatabaseMetrics().read(owner)
