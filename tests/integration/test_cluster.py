"""What a cluster is asked for, and that the forms of SQL for it give the figures of one server.

A stand-in takes Citus's place (tests/support/citus.sql), so this does not show that Citus accepts
them: test_real_cluster.py does, where there is a cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from ingestion.load.loader import load
from ingestion.sources.files import open_source
from orchestration.operations.verify import verify
from tests.conftest import Server
from tests.support.building import (
    start_afresh,
    warm_warehouse,
)
from tests.support.clusters import (
    assert_equal,
    assert_placed,
    assert_rules_are_kept,
    calls,
    distributed,
    everything,
    on_cluster,
    stand_in,
    tenants_in_two_parts,
)
from tests.support.lines import clean_file, value
from warehouse.schema.access import roles
from warehouse.schema.cluster import EVENTS, NODE_SETTINGS, REFERENCE_TABLES, ClusterError
from warehouse.schema.migrate import Migrated, migrate


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


@pytest.mark.deep
def test_a_cluster_s_forms_of_the_models_give_the_same_figures(
    warm: psycopg.Connection, tmp_path: Path
) -> None:
    start_afresh(warm)
    on_one_server = everything(warm, tenants_in_two_parts(tmp_path))
    start_afresh(warm, keeps_code=False)
    with distributed(warm):
        assert_equal(on_one_server, everything(warm, tenants_in_two_parts(tmp_path)))
        wrong = [one for one in verify([], 100_000, seed=1) if one.skipped or one.differing_rows]
        assert wrong == []
        assert_placed(warm)
        assert_rules_are_kept(warm)
