"""What a cluster is asked for, and that it gives the figures of one server.

Where `WAREHOUSE_TEST_CITUS_URL` names a cluster, tests of whole builds run there: the URL of a
superuser of the coordinator's database, whose schemas of the warehouse they drop. Everywhere a
stand-in for Citus on one server (tests/support/citus.sql) shows what is asked of a cluster, and
that the forms of SQL for it give the same figures; not that Citus accepts them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from ingestion.load import chunks
from ingestion.load.entities import EntityKind, load_entities
from ingestion.load.loader import load
from ingestion.privacy.suppression import Subject, SubjectKind
from ingestion.sample.generate import write_sample
from ingestion.sample.timeline import SAMPLE_AS_OF, SAMPLE_MONTH
from ingestion.sources.files import open_source
from orchestration.operations.build import BuildOptions, build
from orchestration.operations.erase import erase
from orchestration.operations.expire import expire
from orchestration.operations.verify import verify
from tests.conftest import Server, settings_of
from tests.integration.test_access import OF_ANALYSTS, OF_TENANTS
from tests.support.building import (
    build_at,
    land,
    land_entities,
    rows_of_models,
    start_afresh,
    warm_warehouse,
)
from tests.support.cluster_rules import broken_rules
from tests.support.clusters import calls, distributed, on_cluster, stand_in, tables_of
from tests.support.lines import clean_file, rows, value
from tests.support.people import AS_OF, CLIENTS, entities_of, people, story_of
from tests.support.processes import finish, start
from warehouse.schema.access import roles
from warehouse.schema.cluster import EVENTS, NODE_SETTINGS, REFERENCE_TABLES, ClusterError
from warehouse.schema.migrate import Migrated, migrate
from warehouse.settings import settings

# Models that stay on the coordinator: their cells belong to no client.
LOCAL = {
    "int_platform_activity_daily", "int_platform_stats", "int_users", "int_documents",
    "int_active_months", "int_user_days", "int_sequence_uses", "int_api_error_windows",
    "user_daily_usage", "user_monthly_usage", "document_usage", "system_daily_metrics",
    "cohort_retention", "api_performance_hourly", "api_performance_daily",
    "system_metrics_hourly", "ingest_loss_daily", "ingest_reconciliation_daily",
    "platform_analytics", "plan_adoption_daily", "business_metrics", "revenue_daily",
    "credit_usage_daily", "dashboard_usage_daily",
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "what_to_do"),
    [
        (None, "no Citus: run `create extension citus`"),
        ("delete from pg_dist_node where groupid = 0", "citus_set_coordinator_host"),
        ("delete from pg_dist_node where groupid > 0", "no workers: add each by"),
        ("update pg_dist_node set isactive = false where groupid > 0", "no workers"),
        ("update citus.answers set prepared_transactions = 0", "worker-1:5432, worker-2:5432"),
    ],
    ids=["no extension", "no coordinator", "no workers", "none active", "no prepared transactions"],
)
def test_a_database_that_is_no_cluster_is_refused_with_what_to_do(
    warehouse: psycopg.Connection, change: str | None, what_to_do: str
) -> None:
    if change:
        stand_in(warehouse)
        warehouse.execute(change.encode())
    with on_cluster(), pytest.raises(ClusterError, match=what_to_do):
        migrate()
    if change:
        assert not any(call.startswith("create") for call in calls(warehouse))


def test_init_distributes_events_and_copies_what_they_are_joined_with_once(
    warehouse: psycopg.Connection,
) -> None:
    with distributed(warehouse):
        made = [call for call in calls(warehouse) if call.startswith("create")]
        assert made == [
            *(f"create_reference_table {table}" for table in REFERENCE_TABLES),
            f"create_distributed_table {EVENTS} client_id default",
        ]
        assert migrate() == Migrated(ran=[], for_dba=[])
        assert [call for call in calls(warehouse) if call.startswith("create")] == made
        signing_in = "select count(*) from pg_roles where rolcanlogin and rolname = any(%s)"
        assert value(warehouse, signing_in, list(roles.ROLES)) == len(roles.ROLES)
    defaults = value(
        warehouse,
        "select setconfig from pg_db_role_setting as s inner join pg_database as d "
        "on s.setdatabase = d.oid where setrole = 0 and datname = current_database()",
    )
    assert {name.lower() for name, _, _ in (one.partition("=") for one in defaults)} == {
        name.lower() for name in NODE_SETTINGS
    }
    assert "TimeZone=UTC" in defaults


def test_functions_are_made_anew_after_the_tables_that_they_read_were_copied(
    warehouse: psycopg.Connection,
) -> None:
    """Citus copies a function to the workers when it is created."""
    warehouse.execute("comment on function warehouse.current_as_of(text) is 'older'")
    with distributed(warehouse):
        assert value(
            warehouse, "select obj_description('warehouse.current_as_of(text)'::regprocedure)"
        ).startswith("The instant")


def test_nothing_is_asked_of_a_cluster_without_the_setting(warehouse: psycopg.Connection) -> None:
    stand_in(warehouse)
    assert migrate() == Migrated(ran=[], for_dba=[])
    assert calls(warehouse) == []
    assert value(warehouse, "select warehouse.is_distributed('staging.raw_events')") is False


# A user of the sample.
SOMEONE = "user-0001"

# A worker's refusal, as the coordinator relays it.
RELAYED = """
create function public.relay() returns trigger language plpgsql as $$
begin
    if exists (
        select 1 from staging.raw_events as e
        where
            e.client_id = new.client_id
            and e.event_id = new.event_id
            and e."timestamp" = new."timestamp"
    ) then
        raise exception 'duplicate key value violates unique constraint "raw_events_key_102008"'
        using errcode = 'XX000';
    end if;
    return new;
end
$$;
create trigger relay before insert on staging.raw_events
for each row execute function public.relay();
"""


def test_duplicates_are_found_as_a_coordinator_reports_them(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    warehouse.execute(RELAYED)
    for name, accepted in (("first", 10), ("second", 2)):
        file = tmp_path / name
        file.write_bytes(clean_file(10 if name == "first" else 12))
        counts = load(open_source(str(file))).counts
        assert counts.accepted == accepted
    assert value(warehouse, "select count(*) from staging.raw_events") == 12


@pytest.fixture(scope="module")
def warm(servers: Callable[[int], Server]) -> Iterator[psycopg.Connection]:
    with warm_warehouse(servers(18)) as connection:
        assert roles.set_up() == []
        yield connection


def state_of(connection: psycopg.Connection) -> dict[str, Any]:
    """Return what builds leave that does not depend on the clock."""
    return {
        "rows": rows_of_models(connection),
        "offsets": rows(
            connection,
            "select model, batch_seq, as_of::text, row_count from warehouse.model_offsets "
            "order by model",
        ),
        "periods": rows(
            connection,
            "select model, period_start, sum(rows_written), from_batch, to_batch "
            "from warehouse.touched_periods group by model, period_start, from_batch, to_batch "
            "order by model, period_start, from_batch, to_batch",
        ),
        "restatements": rows(
            connection,
            "select mart, client_id, period, old_values, new_values, cause "
            "from warehouse.restatements order by mart, client_id, period, restatement_id",
        ),
        "ledger": rows(
            connection,
            "select batch_seq, kind, accepted, erased, erased_by from staging.event_batches "
            "order by batch_seq",
        ),
    }


def tenants_in_two_parts(directory: Path) -> Iterator[datetime]:
    """Land two clients one after the other; yield the as_of of a build after each."""
    for number, client in enumerate(CLIENTS, start=1):
        for kind, entities in entities_of(client).items():
            land_entities(directory, kind, entities)
        land(directory, story_of(client))
        yield AS_OF - timedelta(days=2 - number)


def sample_in_two_parts(directory: Path) -> Iterator[datetime]:
    """Land the sample as the demo does: all but the last file, and then that."""
    files = write_sample(directory)
    for kind, path in files.entities.items():
        load_entities(EntityKind(kind), open_source(str(path)))
    for path in files.events[:-1]:
        load(open_source(str(path)))
    yield SAMPLE_MONTH
    load(open_source(str(files.events[-1])))
    yield SAMPLE_AS_OF


def everything(
    connection: psycopg.Connection, parts: Iterator[datetime], someone: str | None = None
) -> list[dict[str, Any]]:
    """Build, and with ``someone`` backfill, erase them and expire; return what each left."""
    left = []

    def run(step: Callable[[], object]) -> None:
        step()
        left.append(state_of(connection))

    for as_of in parts:
        run(partial(build_at, as_of))
    run(partial(build_at, as_of, full_refresh=True))
    if someone:
        month = as_of.date().replace(day=1)
        run(partial(build, BuildOptions(start=month, end=month + timedelta(days=12))))
        run(partial(erase, Subject(SubjectKind.USER, someone), "somebody"))
        run(partial(build_at, as_of + timedelta(days=40)))
        assert any(dropped.kept is None for dropped in expire(days=30).months)
        run(partial(build_at, as_of + timedelta(days=41)))
    return left


def assert_equal(one_server: Sequence[dict[str, Any]], cluster: Sequence[dict[str, Any]]) -> None:
    """Each step left the same on both; what differs is named by its part and model."""
    for step, (one, other) in enumerate(zip(one_server, cluster, strict=True)):
        rows_of_one, rows_of_other = one["rows"], other["rows"]
        assert rows_of_one.keys() == rows_of_other.keys()
        for model in rows_of_one:
            assert rows_of_one[model] == rows_of_other[model], (step, model)
        for part in one.keys() - {"rows"}:
            assert one[part] == other[part], (step, part)


def test_a_cluster_s_forms_of_the_models_give_the_same_figures(
    warm: psycopg.Connection, tmp_path: Path
) -> None:
    start_afresh(warm)
    on_one_server = everything(warm, tenants_in_two_parts(tmp_path))
    start_afresh(warm)
    with distributed(warm):
        assert_equal(on_one_server, everything(warm, tenants_in_two_parts(tmp_path)))
        wrong = [one for one in verify([], 100_000, seed=1) if one.skipped or one.differing_rows]
        assert wrong == []
        assert_placed(warm)
        assert_rules_are_kept(warm)


def assert_placed(connection: psycopg.Connection) -> None:
    """Each table is where it should be: on the workers, together, on all nodes or here."""
    models = {name for (name,) in rows(connection, "select model from warehouse.stored_models")}
    placed = {name.partition(".")[2] for name in tables_of(connection, "h") - {EVENTS}}
    assert models - placed == LOCAL
    assert placed <= models
    assert tables_of(connection, "n") == {*REFERENCE_TABLES, "intermediate.referrer_sites"}
    together = "select count(distinct colocationid) from pg_dist_partition where partmethod = 'h'"
    assert value(connection, together) == 1
    by_client = "select model from warehouse.stored_models where by_client"
    assert rows(connection, by_client) == [("sessions",)]


def assert_rules_are_kept(connection: psycopg.Connection) -> None:
    """No statement that builds, tests, views, functions or policies run breaks a rule."""
    distributed_tables = tables_of(connection, "h")
    statements = rows(
        connection,
        "select m.model, s.statement from warehouse.stored_models as m cross join unnest("
        "m.list_cells || m.replace_rows || m.rewrite_rows || m.fill_rows || m.rows_of_cells"
        ") as s (statement) union all "
        "select test, failing_rows from warehouse.stored_tests union all "
        "select viewname, definition from pg_views where schemaname in ('intermediate', 'marts')",
    )
    assert len(statements) > 300
    broken = {
        name: found
        for name, statement in statements
        if (found := broken_rules(statement, distributed_tables))
    }
    assert broken == {}
    recursive = (
        "select model from warehouse.stored_models where rows_of_cells ilike '%with recursive%'"
    )
    assert rows(connection, recursive) == [("sessions",)]
    languages = rows(
        connection,
        "select distinct lanname from pg_proc as p inner join pg_language as l "
        "on p.prolang = l.oid where p.pronamespace = 'marts'::regnamespace",
    )
    assert languages == [("plpgsql",)]


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
    with warehouse_beside() as one_server:
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
