"""A stand-in for Citus on one server (citus.sql), and what tests of it and of a cluster share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from ingestion.load.entities import EntityKind, load_entities
from ingestion.load.loader import load
from ingestion.privacy.suppression import Subject, SubjectKind
from ingestion.sample.generate import write_sample
from ingestion.sample.timeline import SAMPLE_AS_OF, SAMPLE_MONTH
from ingestion.sources.files import open_source
from orchestration.operations.build import BuildOptions, build
from orchestration.operations.erase import erase
from orchestration.operations.expire import expire
from tests.support.building import (
    build_at,
    land,
    land_entities,
    rows_of_models,
)
from tests.support.cluster_rules import broken_rules
from tests.support.lines import rows, value
from tests.support.people import AS_OF, CLIENTS, entities_of, story_of
from warehouse.schema.access.roles import ROLES
from warehouse.schema.cluster import EVENTS, REFERENCE_TABLES
from warehouse.schema.migrate import migrate
from warehouse.settings import settings

_STAND_IN = Path(__file__).with_name("citus.sql")


@contextmanager
def on_cluster() -> Iterator[None]:
    """Set WAREHOUSE_CITUS, for this process and those that it starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WAREHOUSE_CITUS", "on")
        settings.cache_clear()
        try:
            yield
        finally:
            patch.undo()
            settings.cache_clear()


def stand_in(connection: psycopg.Connection) -> None:
    """Make a database look like the coordinator of three nodes, all of them this server."""
    connection.execute("set allow_system_table_mods = on")
    connection.execute(_STAND_IN.read_bytes())
    connection.execute("reset allow_system_table_mods")


@contextmanager
def distributed(connection: psycopg.Connection) -> Iterator[None]:
    """Let `warehouse init` distribute the tables, with the stand-in; WAREHOUSE_CITUS stays set.

    Roles are the server's: in the end they have no login any more.
    """
    stand_in(connection)
    try:
        with on_cluster():
            assert migrate().for_dba == []
            yield
    finally:
        for role in ROLES:
            connection.execute(sql.SQL("alter role {} nologin").format(sql.Identifier(role)))


def calls(connection: psycopg.Connection) -> list[str]:
    """Return what was called of the stand-in, in order."""
    return [call for (call,) in connection.execute("select call from citus.calls order by place")]


def tables_of(connection: psycopg.Connection, method: str) -> set[str]:
    """Return the tables that are distributed (method h) or copied to every node (n)."""
    found = connection.execute(
        "select n.nspname || '.' || c.relname from pg_catalog.pg_dist_partition as p "
        "inner join pg_class as c on p.logicalrelid = c.oid "
        "inner join pg_namespace as n on c.relnamespace = n.oid "
        "where p.partmethod = %s and not c.relispartition",
        (method,),
    )
    return {name for (name,) in found}


# Models that stay on the coordinator: their cells belong to no client.
LOCAL = {
    "int_platform_activity_daily", "int_platform_stats", "int_users", "int_documents",
    "int_active_months", "int_user_days", "int_sequence_uses", "int_api_error_windows",
    "int_event_batches", "int_window_users_daily", "user_daily_usage", "user_monthly_usage",
    "document_usage", "system_daily_metrics", "cohort_retention", "api_performance_hourly",
    "api_performance_daily",
    "system_metrics_hourly", "ingest_loss_daily", "ingest_reconciliation_daily",
    "platform_analytics", "plan_adoption_daily", "business_metrics", "revenue_daily",
    "credit_usage_daily", "dashboard_usage_daily",
}  # fmt: skip


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
        "select model from warehouse.stored_models where rows_of_cells ilike '%%with recursive%%'"
    )
    assert rows(connection, recursive) == [("sessions",)]
    languages = rows(
        connection,
        "select distinct lanname from pg_proc as p inner join pg_language as l "
        "on p.prolang = l.oid where p.pronamespace = 'marts'::regnamespace",
    )
    assert languages == [("plpgsql",)]
