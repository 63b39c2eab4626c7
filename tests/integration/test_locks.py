"""Nobody who may not write stops loads and builds, and whoever waits says for whom."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from ingestion.load import ledger
from ingestion.load.loader import load
from ingestion.sources.files import open_source
from tests.support.lines import clean_file, rows, value
from warehouse import database, locks, session
from warehouse.locks import Lock, LockError

LOCKS = [f"warehouse.{lock.value}" for lock in Lock]


def test_every_lock_is_a_table_that_holds_nothing(warehouse: psycopg.Connection) -> None:
    tables = rows(
        warehouse,
        "select tablename from pg_tables where schemaname = 'warehouse' "
        "and starts_with(tablename, 'lock_') and tablename <> 'lock_models'",
    )
    of_functions = {"lock_partitions", "lock_access"}
    assert {table for (table,) in tables} == {*Lock, *of_functions} - {Lock.INIT}
    for lock in Lock:
        for role in ("warehouse_loader", "warehouse_transformer"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                as_role(warehouse, role, f"insert into warehouse.{lock} default values")


def as_role(connection: psycopg.Connection, role: str, statement: str) -> None:
    with connection.transaction():
        connection.execute(f"set local role {role}")
        connection.execute(statement)


@pytest.mark.parametrize("role", ["warehouse_analyst", "warehouse_marketing", "warehouse_tenant"])
def test_who_may_not_write_takes_no_lock(warehouse: psycopg.Connection, role: str) -> None:
    for lock in [*LOCKS, "warehouse.lock_partitions", "warehouse.lock_access"]:
        for mode in ("access share", "row share", "row exclusive", "exclusive"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                as_role(warehouse, role, f"lock table {lock} in {mode} mode")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        as_role(warehouse, role, "select from warehouse.lock_models for update")


def test_advisory_locks_of_another_session_stop_no_load(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(clean_file(10))
    first = load(open_source(str(path)))
    with psycopg.connect(warehouse.info.dsn, autocommit=True) as attacker:
        # The advisory locks of the next loads, which a session that looks at pg_locks may learn.
        for load_id in range(first.load_id, first.load_id + 5):
            attacker.execute("select pg_advisory_lock(%s)", (locks_of_load(load_id),))
        second = load(open_source(str(path)))
    assert second.counts.duplicates == 10


def locks_of_load(load_id: int) -> int:
    return ledger._load_key(load_id)


def test_who_waits_says_for_whom_and_gives_up(
    warehouse: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with locks.held(Lock.BUILD) as holder:
        monkeypatch.setattr(locks, "LONGEST_WAIT_SECONDS", 1)
        named = f"warehouse build \\(process {holder} of postgres"
        with (
            pytest.raises(LockError, match=rf"{named}.*which holds lock_build"),
            locks.held(Lock.BUILD),
        ):
            pass
    assert f"Waiting for warehouse build (process {holder} of postgres" in capsys.readouterr().err
    with locks.held(Lock.BUILD):
        pass


def test_a_load_that_waits_too_long_names_who_holds_it_up(
    warehouse: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(clean_file(10))
    monkeypatch.setitem(session.LIMITS, "lock_timeout", "500")
    with database.connect(application_name="somebody") as blocker:
        locks.take(blocker, Lock.BATCH_SEQ)
        with pytest.raises(LockError, match=r"somebody .*holds lock_batch_seq"):
            load(open_source(str(path)))
    assert load(open_source(str(path))).counts.accepted == 10
    assert rows(warehouse, "select state from staging.loads") == [("finished",)]


def test_a_lock_that_is_held_keeps_no_row_alive(warehouse: psycopg.Connection) -> None:
    with locks.held(Lock.ERASURE) as holder:
        assert rows(
            warehouse,
            "select state, backend_xid, backend_xmin from pg_stat_activity where pid = %s",
            holder,
        ) == [("idle in transaction", None, None)]


def test_a_month_that_no_event_can_have_becomes_no_partition(
    warehouse: psycopg.Connection,
) -> None:
    for month in ("1999-12-01", "3000-01-01", "0044-03-15 BC", "infinity", "-infinity"):
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="no event can lie"):
            warehouse.execute("select staging.add_raw_partitions(array[%s::date])", (month,))
    taken = "select staging.add_raw_partitions(array[date '2000-01-31', current_date])"
    assert value(warehouse, taken) == 2


@pytest.mark.parametrize("zone", ["UTC-5", "<UTC>-5", "Pacific/Kiritimati", "America/St_Johns"])
def test_a_partition_is_a_month_of_utc_whatever_the_loader_s_session(
    warehouse: psycopg.Connection, zone: str
) -> None:
    bounds = (
        "select pg_get_expr(relpartbound, oid) from pg_class where relname = 'raw_events_2021_05'"
    )
    for style in ("SQL, MDY", "Postgres, DMY", "German"):
        with warehouse.transaction(force_rollback=True):
            warehouse.execute("select set_config('timezone', %s, true)", (zone,))
            warehouse.execute("select set_config('datestyle', %s, true)", (style,))
            warehouse.execute("select staging.add_raw_partitions(array[make_date(2021, 5, 2)])")
            warehouse.execute("set local timezone = 'UTC'")
            warehouse.execute("set local datestyle = 'ISO'")
            assert value(warehouse, bounds) == (
                "FOR VALUES FROM ('2021-05-01 00:00:00+00') TO ('2021-06-01 00:00:00+00')"
            )


def test_a_build_waits_for_a_batch_that_is_being_committed(warehouse: psycopg.Connection) -> None:
    """On a cluster the batch may be in the ledger before all of its rows can be seen."""
    pin = "select (warehouse.pin_build('{}', now(), null, null, false)).batch_seq"
    with database.connect() as committing:
        locks.take(committing, Lock.BATCH_SEQ)
        warehouse.execute("set lock_timeout = '100ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            warehouse.execute(pin.format("first"))
    assert value(warehouse, pin.format("second")) == 0
