"""What has had its time is dropped, and no figure changes by it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ingestion.privacy.suppression import Subject, SubjectKind
from orchestration.definitions import expiry
from orchestration.operations import expire
from orchestration.operations.build import BuildError, BuildOptions, build
from orchestration.operations.erase import erase
from orchestration.operations.expire import expire as expire_old
from tests.conftest import Server
from tests.support.building import land, made_once, rows_of_models, start_afresh, warm_warehouse
from tests.support.lines import event, rows, value
from tests.support.processes import run
from warehouse import database
from warehouse.settings import settings

NOW = datetime.now(UTC)
LAST_YEAR = NOW - timedelta(days=430)
TOO_OLD = f"raw_events_{LAST_YEAR:%Y_%m}"


@pytest.fixture(scope="module")
def warm(servers: Callable[[int], Server]) -> Iterator[psycopg.Connection]:
    only = ["revenue_daily", "ingest_reconciliation_daily", "ingest_loss_daily", "client_cohorts"]
    # A month waits for every typed fact.
    with warm_warehouse(servers(18), [*only, "facts"]) as connection:
        yield connection


def events() -> list[dict[str, Any]]:
    """Events of last year, and of this month."""
    days = [LAST_YEAR + timedelta(hours=hour) for hour in range(6)]
    days += [NOW - timedelta(hours=hour) for hour in range(1, 5)]
    paid = {"type": "purchase", "amount_usd": 5}
    return [
        event(number, event="revenue", timestamp=day.isoformat(), properties=paid)
        for number, day in enumerate(days)
    ]


def built(directory: Path) -> None:
    land(directory, [*events(), event(99, event="no such event")])
    build()


@pytest.fixture
def warehouse(warm: psycopg.Connection, tmp_path: Path) -> psycopg.Connection:
    """A warehouse with last year's events, built; no month is dropped."""
    warm.execute("delete from staging.dropped_months")
    add = "select staging.add_raw_partitions(array[%s::date])"
    warm.execute(add, (LAST_YEAR.date(),))
    made_once(warm, "built", lambda: built(tmp_path))
    return warm


def partitions(connection: psycopg.Connection) -> set[str]:
    found = rows(
        connection,
        "select c.relname from pg_inherits as i inner join pg_class as c on i.inhrelid = c.oid "
        "where i.inhparent = 'staging.raw_events'::regclass",
    )
    return {name for (name,) in found}


def test_a_month_that_is_too_old_is_dropped_and_no_figure_changes(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    before = rows_of_models(warehouse)
    would = expire_old(dry_run=True)
    assert TOO_OLD in partitions(warehouse)
    assert [(month.events, month.kept) for month in would.months if month.events] == [(6, None)]

    done = expire_old()
    assert done.months == would.months
    assert partitions(warehouse) == {f"raw_events_{NOW - timedelta(hours=h):%Y_%m}" for h in (1, 4)}
    assert rows_of_models(warehouse) == before
    assert expire_old().months == []

    # An old file once more: nothing is counted twice, and everything is explained.
    again = land(tmp_path, events())
    assert (again.duplicates, again.accepted) == (len(events()), 0)
    build()
    after = rows_of_models(warehouse)
    for model in ("int_events", "int_actor_days", "ingest_loss_daily", "revenue_daily"):
        assert after[model] == before[model]
    # One that comes late counts, as old as it is.
    late = event(50, event="revenue", timestamp=LAST_YEAR.isoformat(), properties=PAID)
    assert land(tmp_path, [late, late, *events()]).accepted == 1
    build()
    assert value(warehouse, "select sum(unexplained) from marts.ingest_reconciliation_daily") == 0
    assert value(warehouse, "select sum(total_revenue_usd) from marts.revenue_daily") == 5 * 10 + 7
    # Its month is dropped again.
    assert [month.events for month in expire_old().months] == [1]
    assert value(warehouse, "select events from staging.dropped_months where events > 0") == 7


PAID = {"type": "purchase", "amount_usd": 7}


@pytest.mark.deep
def test_a_rebuild_that_would_lose_dropped_events_is_refused(
    warehouse: psycopg.Connection,
) -> None:
    expire_old()
    before = rows_of_models(warehouse)
    with pytest.raises(BuildError, match="--allow-lost-events"):
        build(BuildOptions(full_refresh=True))
    with pytest.raises(BuildError, match="int_revenue_events can not be rebuilt"):
        build(BuildOptions(full_refresh=True, select="int_revenue_events"))
    # A changed model is rebuilt, too.
    warehouse.execute(
        "update warehouse.model_offsets set checksum = '' where model = 'int_revenue_events'"
    )
    with pytest.raises(BuildError, match="int_revenue_events can not be rebuilt"):
        build()
    assert rows_of_models(warehouse)["int_revenue_events"] == before["int_revenue_events"]
    build(BuildOptions(full_refresh=True, select="revenue_daily"))
    assert rows_of_models(warehouse)["revenue_daily"] == before["revenue_daily"]

    build(BuildOptions(full_refresh=True, allow_lost_events=True))
    assert value(warehouse, "select count(*) from intermediate.int_revenue_events") == 4
    assert value(warehouse, "select sum(total_revenue_usd) from marts.revenue_daily") == 4 * 5
    assert value(warehouse, "select sum(erased) from marts.ingest_reconciliation_daily") == 6


def test_a_month_is_kept_until_every_typed_fact_has_read_it(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    late = event(50, event="revenue", timestamp=LAST_YEAR.isoformat(), properties=PAID)
    land(tmp_path, [late])
    build()
    # One of the facts alone has not.
    warehouse.execute(
        "update warehouse.model_offsets set batch_seq = 1 where model = 'int_actor_days'"
    )
    assert [month.kept for month in expire_old().months] == ["typed facts have not read all of it"]
    warehouse.execute("delete from warehouse.model_offsets where model = 'int_actor_days'")
    assert [month.kept for month in expire_old().months] == ["not every typed fact is built"]
    assert TOO_OLD in partitions(warehouse)


def test_a_month_that_is_being_read_is_dropped_when_that_ends_and_holds_nothing_up(
    warehouse: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expire, "LOCK_TIMEOUT", "20ms")
    with database.connect() as reader:
        reader.execute("select from staging.raw_events limit 1")
        monkeypatch.setattr(expire.time, "sleep", lambda _: None)
        (kept,) = (month.kept for month in expire_old().months if month.events)
        assert "uses raw events" in kept
        assert TOO_OLD in partitions(warehouse)
        monkeypatch.setattr(expire.time, "sleep", lambda _: reader.rollback())
        assert [month.kept for month in expire_old().months if month.events] == [None]
    assert TOO_OLD not in partitions(warehouse)


@pytest.mark.deep
def test_a_subject_is_erased_of_whom_facts_alone_know(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    # Not beside the copy that tests bring back: the search would find that.
    warehouse.execute("drop schema built cascade")
    start_afresh(warehouse)
    # Who speaks of somebody in the first event of a day was there all the same.
    names_her = event(20, event="revenue", timestamp=LAST_YEAR.isoformat(), actor=BOB)
    names_her |= {"properties": {"type": "purchase", "amount_usd": 0, "plan_type": "user-3"}}
    later = (LAST_YEAR + timedelta(seconds=1)).isoformat()
    land(tmp_path, [names_her, event(21, timestamp=later, actor=BOB)])
    built(tmp_path)
    expire_old()
    receipt = erase(Subject(SubjectKind.USER, "user-3"), "dpo")
    assert (receipt.state, receipt.found) == ("verified", {})
    assert "staging.raw_events" not in receipt.removed
    assert receipt.removed["intermediate.int_revenue_events"] == 2
    assert value(warehouse, "select sum(total_revenue_usd) from marts.revenue_daily") == 5 * 9
    was_there = "select exists (select from intermediate.int_active_months where member_id = %s)"
    assert value(warehouse, was_there, BOB["user_id"])
    assert value(warehouse, "select sum(unexplained) from marts.ingest_reconciliation_daily") == 0


BOB = {"client_id": "acme", "user_id": "user-bob"}


def test_salts_and_payloads_have_their_time(warehouse: psycopg.Connection) -> None:
    warehouse.execute(
        "insert into staging.visitor_salts select current_date - days, '' "
        "from generate_series(0, 3) as s (days) on conflict do nothing"
    )
    assert expire_old().payloads == 0
    assert value(warehouse, "select count(*) from staging.visitor_salts") == 2
    old = "update staging.rejected_events set received_at = now() - make_interval(days => %s)"
    warehouse.execute(old, (29,))
    assert (expire_old().payloads, payload(warehouse) != b"") == (0, True)
    warehouse.execute(old, (31,))
    assert (expire_old(dry_run=True).payloads, payload(warehouse) != b"") == (1, True)
    begun = value(warehouse, "select clock_timestamp()")
    assert metadata_of_the_job()["payloads"].value == 1
    assert payload(warehouse) == b""
    vacuumed = "select last_vacuum > %s from pg_stat_user_tables where relname = any(%s)"
    tables = ["visitor_salts", "rejected_events"]
    assert rows(warehouse, vacuumed, begun, tables) == [(True,), (True,)]
    assert expire_old().payloads == 0
    # That it was refused, and why, is known; it can't be replayed any more.
    listed = json.loads(run("rejected", "list", "--json").output)["rejected"]
    assert [(r["reason"], r["rejected"], r["waiting"]) for r in listed] == [("unknown_event", 1, 0)]
    assert run("rejected", "replay", "--json").answer["received"] == 0


def test_dropped_files_go_with_the_payloads(
    warehouse: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAREHOUSE_DROP_FOLDER", str(tmp_path))
    settings.cache_clear()
    loaded = tmp_path / "done" / "events" / "file"
    loaded.parent.mkdir(parents=True)
    loaded.touch()
    assert expire_old().dropped_files == 0
    os.utime(loaded, (0, 0))
    assert run("expire", "--dry-run", "--json").answer["dropped_files"] == 1
    shown = run("expire", "--dry-run").output
    assert re.search(r"dropped files +1 +would be deleted\nrestatements +0 ", shown)
    assert metadata_of_the_job()["dropped_files"].value == 1
    assert not loaded.exists()
    monkeypatch.undo()
    settings.cache_clear()


def test_rows_go_of_a_month_whose_table_somebody_s_type_is_made_of(
    warehouse: psycopg.Connection,
) -> None:
    warehouse.execute(f"create type marts.pin as (r staging.{TOO_OLD})")
    done = expire_old()
    assert [month.kept for month in done.months] == [None]
    assert TOO_OLD in partitions(warehouse)
    left = f"select count(*) from staging.{TOO_OLD}"  # noqa: S608 (a name of this file)
    assert value(warehouse, left) == 0
    assert value(warehouse, "select sum(events) from staging.dropped_months") == 6
    warehouse.execute("drop type marts.pin")
    expire_old()
    assert TOO_OLD not in partitions(warehouse)
    assert value(warehouse, "select sum(events) from staging.dropped_months") == 6


def test_of_a_month_without_events_nothing_is_lost(warehouse: psycopg.Connection) -> None:
    empty = NOW - timedelta(days=1000)
    warehouse.execute("select staging.add_raw_partitions(array[%s::date])", (empty.date(),))
    expire_old()
    assert f"raw_events_{empty:%Y_%m}" not in partitions(warehouse)
    lost = rows(warehouse, "select month from staging.dropped_months")
    assert lost == [(LAST_YEAR.date().replace(day=1),)]


def test_restatements_are_kept_for_400_days(warehouse: psycopg.Connection) -> None:
    restate = (
        "insert into warehouse.restatements "
        "(mart, client_id, period, old_values, cause, run, restated_at) "
        "select 'analytics_daily', 'acme', '2024-01-01', '{}', 'late events', 'run', "
        "now() - make_interval(days => days) from unnest(array[399, 401, 402]) as ages (days)"
    )
    warehouse.execute(restate)
    assert run("expire", "--dry-run", "--json").answer["restatements"] == 2
    assert value(warehouse, "select count(*) from warehouse.restatements") == 3
    assert metadata_of_the_job()["restatements"].value == 2
    youngest = "select count(*), now() - min(restated_at) < '400 days' from warehouse.restatements"
    assert rows(warehouse, youngest) == [(1, True)]
    assert expire_old().restatements == 0


def metadata_of_the_job() -> dict[str, Any]:
    events = expiry.expiry.execute_in_process().all_events
    (output,) = (one for one in events if one.is_successful_output)
    return dict(output.step_output_data.metadata)


def payload(connection: psycopg.Connection) -> bytes:
    return bytes(value(connection, "select payload from staging.rejected_events"))


def test_the_command_reports_what_it_would_drop(warehouse: psycopg.Connection) -> None:
    answer = run("expire", "--dry-run", "--json", "--days", 1).answer
    assert answer["dry_run"] is True
    assert sum(month["events"] for month in answer["months"]) >= 6
    assert {month["kept"] for month in answer["months"] if month["events"]} == {None}
    assert TOO_OLD in partitions(warehouse)
