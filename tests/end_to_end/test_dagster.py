"""What Dagster knows, and one run of all of it."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from expectations.checks import run_checks
from ingestion.load.loader import load
from ingestion.sources import drop_folder
from ingestion.sources.files import open_source
from orchestration.definitions.instance import dagster_environment, instance_config
from orchestration.operations import serve_state
from orchestration.operations.build import build
from orchestration.operations.export import export_row
from orchestration.serve import processes
from tests.conftest import WAREHOUSE, Server
from tests.support.building import made_once
from warehouse.settings import settings

# What Dagster is to know: a line each, so that a change of it shows as one.
DEFINITIONS = Path(__file__).with_name("definitions.txt")
STAGING = {
    f"staging/{name}" for name in (
        "raw_events", "event_batches", "loads", "used_sequences", "rejected_events",
        "unknown_members",
        "clients", "units", "users", "documents",
    )
}  # fmt: skip


@pytest.fixture(scope="module")
def warehouse(servers: Callable[[int], Server]) -> Iterator[psycopg.Connection]:
    """A fresh warehouse for all of these tests, whose partitions begin before their events."""
    server = servers(18)
    url = server.new_database()
    with (
        pytest.MonkeyPatch.context() as patch,
        server.environment(url),
        psycopg.connect(url, autocommit=True) as connection,
    ):
        patch.setenv("WAREHOUSE_PARTITIONS_START", "2025-12-29")
        settings.cache_clear()
        yield connection
    server.drop_database(url)


@pytest.fixture(scope="module")
def definitions(warehouse: psycopg.Connection) -> dg.Definitions:
    """Dagster's definitions; imported here, because that parses the dbt project."""
    from orchestration.definitions.code_location import defs

    return defs


@pytest.fixture(scope="module", autouse=True)
def instance() -> Iterator[dg.DagsterInstance]:
    """One instance for all runs: a new one would first have to learn of all partitions."""
    with dg.DagsterInstance.ephemeral() as one, pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "INSTANCE", one)
        yield one


@pytest.fixture
def built(definitions: dg.Definitions, warehouse: psycopg.Connection) -> dg.ExecuteInProcessResult:
    """Give the run that took dropped files to the exported row, and the warehouse as it left it."""

    def run_on_dropped_files() -> dg.ExecuteInProcessResult:
        drop = settings().drop
        _drop(drop / "units" / "units.csv", b"unit_id,updated_at\nu1,2026-01-01T00:00:00Z\n")
        _drop(drop / "events" / "sessions.ndjson.gz", gzip.compress(_event("session")))
        chats = _event("chat") + _event("chat", "2026-02-20T12:00:00Z")
        _drop(drop / "events" / "chats.ndjson", chats + b"no json\n")
        _drop(drop / "events" / "damaged.ndjson.gz", gzip.compress(_event("chat"))[:-9])
        return _run_everything(definitions)

    return made_once(warehouse, "built", run_on_dropped_files)


def test_watching_a_warehouse_with_nothing_built_is_no_failure(definitions, warehouse):
    run = _run(definitions, "watch")
    assert run.success
    assert "is_fresh" not in {check.check_name for check in run.get_asset_check_evaluations()}


def test_dagster_knows_these_assets_checks_jobs_schedules_and_sensors_and_no_others(definitions):
    graph = definitions.resolve_asset_graph()
    repository = definitions.get_repository_def()
    partitions = {
        key: type(graph.get(key).partitions_def).__name__.removesuffix("PartitionsDefinition")
        for key in graph.get_all_asset_keys()
    }
    known = [
        *(f"asset {key.to_user_string()} {kind}".removesuffix(" NoneType")
          for key, kind in partitions.items()),
        *(f"check {key.asset_key.to_user_string()} {key.name}" for key in graph.asset_check_keys),
        *(f"job {job.name}" for job in _jobs(definitions)),
        *(f"schedule {one.name} {one.cron_schedule}" for one in repository.schedule_defs),
        *(f"sensor {one.name}" for one in repository.sensor_defs),
    ]  # fmt: skip
    assert sorted(known) == DEFINITIONS.read_text().splitlines()


def test_rejected_lines_and_their_replays_show_with_their_counts(definitions, built, warehouse):
    key = dg.AssetKey(["staging", "rejected_events"])
    (landed,) = [
        event.step_materialization_data.materialization
        for event in built.get_asset_materialization_events()
        if event.asset_key == key
    ]
    assert landed.metadata["rejected"].value == 1
    assert landed.metadata["waiting: invalid_json"].value == 1
    replay = definitions.get_job_def("replay")
    config = {"ops": {"replay_rejected": {"config": {"reason": "invalid_json"}}}}
    dry = {"ops": {"replay_rejected": {"config": {"dry_run": True}}}}
    assert replay.execute_in_process(run_config=dry).success
    (replayed,) = [
        event.step_materialization_data.materialization
        for event in replay.execute_in_process(run_config=config).get_asset_materialization_events()
    ]
    assert replayed.asset_key == key
    counts = {name: found.value for name, found in replayed.metadata.items()}
    assert (counts["replayed"], counts["rejected"], counts["waiting: invalid_json"]) == (1, 1, 1)


def test_the_lineage_goes_from_staging_to_the_exported_row(definitions):
    graph = definitions.resolve_asset_graph()
    above = graph.get_ancestor_asset_keys(dg.AssetKey(["export", "analytics_platform_stats"]))
    assert dg.AssetKey(["staging", "raw_events"]) in above
    assert dg.AssetKey(["staging", "units"]) in above


def test_every_asset_is_described_and_owned(definitions):
    graph = definitions.resolve_asset_graph()
    assert [key for key in graph.get_all_asset_keys() if not graph.get(key).description] == []
    assert [key for key in graph.get_all_asset_keys() if not graph.get(key).owners] == []


def test_schedules_and_sensors_say_what_they_keep_fresh(definitions):
    repository = definitions.get_repository_def()
    automations = [*repository.schedule_defs, *repository.sensor_defs]
    assert [one.name for one in automations if not one.description] == []
    assert {one.execution_timezone for one in repository.schedule_defs} == {"UTC"}


def test_whatever_builds_waits_in_one_pool_and_all_else_has_room_beside_it(definitions):
    from orchestration.definitions.dbt_assets import DBT_ASSETS

    pools = {job.name: {op.pool for op in job.all_node_defs} for job in _jobs(definitions)}
    beside = {name for name, of in pools.items() if "builds" not in of}
    assert beside == {"landing", "replay", "expiry", "verification", "watch"}
    assert {assets.op.pool for assets in DBT_ASSETS} == {"builds"}
    concurrency = instance_config()["concurrency"]
    assert concurrency["pools"] == {"granularity": "run", "default_limit": 1}
    assert concurrency["runs"]["max_concurrent_runs"] == 1 + len(beside)


def test_a_schedule_leaves_a_run_out_while_the_last_one_waits_or_runs(definitions):
    schedule = definitions.resolve_schedule_def("marketing_row_schedule")
    with (
        dg.instance_for_test() as instance,
        dg.build_schedule_context(instance=instance) as context,
    ):
        assert len(schedule.evaluate_tick(context).run_requests) == 1
        waiting = instance.create_run_for_job(definitions.resolve_job_def("marketing_row"))
        assert schedule.evaluate_tick(context).run_requests == []
        instance.report_run_failed(waiting)
        assert len(schedule.evaluate_tick(context).run_requests) == 1


def _jobs(definitions: dg.Definitions) -> list[dg.JobDefinition]:
    jobs = definitions.get_repository_def().get_all_jobs()
    return [job for job in jobs if not job.name.startswith("__")]


@pytest.mark.parametrize(
    ("mart", "key", "first", "last"),
    [
        ("analytics_weekly", "2025-12-29", "2025-12-29", "2026-01-04"),
        ("analytics_weekly", "2026-02-23", "2026-02-23", "2026-03-01"),
        ("analytics_monthly", "2026-02-01", "2026-02-01", "2026-02-28"),
        ("analytics_monthly", "2025-12-01", "2025-12-01", "2025-12-31"),
    ],
)
def test_a_week_and_a_month_are_made_of_their_days(definitions, mart, key, first, last):
    graph = definitions.resolve_asset_graph()
    mart_key = dg.AssetKey(["marts", mart])
    days_key = dg.AssetKey(["intermediate", "int_client_activity_daily"])
    weeks_or_months, days = graph.get(mart_key).partitions_def, graph.get(days_key).partitions_def
    of_days = graph.get_partition_mapping(mart_key, days_key)
    above = of_days.get_upstream_mapped_partitions_result_for_partitions(
        weeks_or_months.subset_with_partition_keys([key]), weeks_or_months, days
    )
    keys = sorted(above.partitions_subset.get_partition_keys())
    assert (keys[0], keys[-1]) == (first, last)
    assert len(keys) == (date.fromisoformat(last) - date.fromisoformat(first)).days + 1


def test_the_first_partition_of_each_kind_is_made_of_partitions_that_exist(definitions):
    graph = definitions.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        for parent in graph.get(key).parent_keys:
            mine, theirs = graph.get(key).partitions_def, graph.get(parent).partitions_def
            if mine is None or theirs is None:
                continue
            first = mine.subset_with_partition_keys([mine.get_first_partition_key()])
            mapping = graph.get_partition_mapping(key, parent)
            above = mapping.get_upstream_mapped_partitions_result_for_partitions(
                first, mine, theirs
            )
            assert above.required_but_nonexistent_subset.is_empty, (key, parent)


@pytest.mark.parametrize(
    ("start", "day"),
    [("2025-01-01", "2024-12-30"), ("2026-03-18", "2026-03-01"), ("2024-04-01", "2024-04-01")],
)
def test_days_start_with_the_first_week_and_month(start, day):
    from orchestration.definitions.partitions import Period, partitions_from

    days = partitions_from(date.fromisoformat(start))[Period.DAY]
    assert days.get_first_partition_key() == day


def test_the_job_takes_dropped_files_to_the_exported_row(built, warehouse):
    assert built.success
    row = warehouse.execute(
        "select active_users, questions_answered, pdf_downloads, engagement_rate "
        "from export.analytics_platform_stats"
    ).fetchall()
    assert row == [(0, 2, 0, 0)]
    drop = settings().drop
    assert _names(drop / "done") >= {"units.csv", "sessions.ndjson.gz", "chats.ndjson"}
    assert _names(drop / "events") == set()
    # A file that cannot be read is quarantined with the reason, and blocks no other.
    assert _failed_checks(built) == ["dropped_files_are_readable"]
    assert _names(drop / "failed") == {"damaged.ndjson.gz", "damaged.ndjson.gz.reason.txt"}
    assert "gzip" in (drop / "failed/events/damaged.ndjson.gz.reason.txt").read_text()
    query = "select detail ->> 'job' from marts.warehouse_events where event = 'file_quarantined'"
    assert warehouse.execute(query).fetchall() == [("events/damaged.ndjson.gz",)]


def test_a_failed_check_of_what_landed_leaves_the_row(definitions, warehouse, built):
    before = _exported(warehouse)
    # A loader gone wrong: what it writes is not in the plan.
    warehouse.execute(
        "create function pg_temp.spoil() returns trigger language plpgsql as "
        "$$ begin new.event := 'spoilt'; return new; end $$;"
        "create trigger spoil before insert on staging.raw_events "
        "for each row execute function pg_temp.spoil()"
    )
    try:
        _drop(settings().drop / "events" / "second.ndjson", _event("chat"))
        run = _run_everything(definitions, raise_on_error=False)
    finally:
        warehouse.execute("drop trigger spoil on staging.raw_events")

    assert not run.success
    assert _failed_checks(run) == ["raw_events_event_in_plan"]
    materialized = {e.asset_key.to_user_string() for e in run.get_asset_materialization_events()}
    assert materialized == STAGING
    assert _exported(warehouse) == before


def test_partitions_begin_with_the_first_event_that_has_landed(warehouse, built, monkeypatch):
    from orchestration.definitions.partitions import first_partitioned_day

    monkeypatch.delenv("WAREHOUSE_PARTITIONS_START")
    settings.cache_clear()
    assert first_partitioned_day() == date(2026, 1, 31)
    _land(warehouse, _event("chat", LATE))
    assert first_partitioned_day() == date(2026, 1, 5)
    warehouse.execute("delete from staging.event_batches")
    assert first_partitioned_day() == datetime.now(UTC).date()
    monkeypatch.undo()
    settings.cache_clear()


def test_after_a_run_of_everything_dagster_shows_every_asset_as_up_to_date(
    definitions, built, instance
):
    assert _run_everything(definitions).success
    assert _not_up_to_date(definitions, instance) == {}


@pytest.mark.deep
def test_dagster_learns_what_was_built_checked_and_exported_without_it(
    definitions, warehouse, built
):
    from orchestration.definitions import outside_runs

    _land(warehouse, _event("chat", LATE))
    build()
    run_checks(docs=False)
    export_row()
    with dg.DagsterInstance.local_temp() as kept:
        outside_runs.report(kept)
        assert _not_up_to_date(definitions, kept) == {}
        checks = [*definitions.resolve_asset_graph().asset_check_keys]
        results = kept.event_log_storage.get_latest_asset_check_execution_by_key(checks)
        late = dg.AssetKey(["marts", "user_daily_usage"])
        (event,) = kept.fetch_materializations(
            dg.AssetRecordsFilter(late, asset_partitions=["2026-01-05"]), limit=2
        ).records
        again = kept.event_log_storage.get_maximum_record_id()
        outside_runs.report(kept)
        assert kept.event_log_storage.get_maximum_record_id() == again
    ran = {key.name for key, result in results.items() if result.evaluation.passed}
    assert {"raw_events_event_in_plan", "assert_leads_by_source_add_up"} <= ran
    assert event.asset_materialization.metadata["rows_written"].value == 1


def _not_up_to_date(definitions: dg.Definitions, instance: dg.DagsterInstance) -> dict[str, object]:
    """Return the assets that Dagster shows as missing, out of sync, or with missing partitions."""
    graph = definitions.resolve_asset_graph()
    statuses = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
    found: dict[str, object] = {}
    for key in graph.materializable_asset_keys:
        if partitions := graph.get(key).partitions_def:
            known = instance.get_materialized_partitions(key)
            status: object = sorted({*partitions.get_partition_keys()} - known)
        else:
            status = (
                []
                if statuses.get_status(key) == StaleStatus.FRESH
                else [statuses.get_status(key), *statuses.get_stale_causes(key)]
            )
        if status:
            found[key.to_user_string()] = status
    return found


@pytest.mark.deep
def test_a_scheduled_run_reports_every_partition_that_it_touched_late_days_included(
    definitions, warehouse, built
):
    newest = _land(warehouse, _event("chat", "2026-02-21T12:00:00Z"), _event("chat", LATE))

    run = _run_everything(definitions)
    reported = _partitions(run)
    # A run with nothing new touches the row alone, which depends on time.
    again = _run_everything(definitions)

    assert reported["marts/user_daily_usage"] == {"2026-01-05", "2026-02-21"}
    assert reported["marts/user_monthly_usage"] == {"2026-01-01", "2026-02-01"}
    # No period of its own: the model as a whole.
    assert reported["intermediate/int_chat_events"] == {None}
    late = next(
        event.step_materialization_data.materialization
        for event in run.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey(["marts", "user_daily_usage"])
        and event.partition == "2026-01-05"
    )
    figures = {name: entry.value for name, entry in late.metadata.items()}
    # Rows of the whole table, as Dagster means it, and those that were written to this day.
    assert figures == {
        "dagster/row_count": 4, "rows_written": 1, "from_batch": newest - 2, "to_batch": newest,
    }  # fmt: skip
    assert {key for key in _partitions(again) if not key.startswith("staging/")} == {
        "intermediate/int_platform_stats",
        "export/analytics_platform_stats",
    }


@pytest.mark.deep
def test_what_a_run_touched_that_was_interrupted_the_next_one_reports_and_only_that(
    definitions, warehouse, built, monkeypatch
):
    _land(warehouse, _event("chat", LATE))
    with monkeypatch.context() as patch:
        # Built, and killed before it reports.
        patch.setattr("orchestration.definitions.reporting._mark_reported", lambda *_: _cut_off())
        with pytest.raises(KeyboardInterrupt):
            _run(definitions, "everything")

    # Others report only what they build themselves.
    assert _partitions(_run(definitions, "traffic")) == {}
    next_one, and_next = _run(definitions, "everything"), _run(definitions, "traffic")

    assert _partitions(next_one)["marts/user_daily_usage"] == {"2026-01-05"}
    (facts,) = [
        event.step_materialization_data.materialization.metadata
        for event in next_one.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey(["intermediate", "int_chat_events"])
    ]
    assert (facts["dagster/row_count"].value, facts["rows_written"].value) == (3, 1)
    assert _partitions(and_next) == {}


@pytest.mark.deep
def test_the_hourly_run_builds_traffic_and_nothing_else(definitions, warehouse, built):
    view = json.loads(_event("page_view", "2026-02-21T12:00:00Z"))
    view["actor"]["user_id"] = "u1"
    view["context"] = {"source": "api", "page": {"path": "/"}}
    newest = _land(warehouse, json.dumps(view).encode() + b"\n")
    stand = "select batch_seq from warehouse.model_offsets where model = %s"

    reported = _partitions(_run(definitions, "traffic"))
    assert reported["marts/stats_daily"] == {"2026-02-21"}
    assert reported["marts/sessions"] == {None}
    assert "marts/analytics_daily" not in reported
    assert warehouse.execute(stand, ("stats_daily",)).fetchone() == (newest,)
    assert warehouse.execute(stand, ("analytics_daily",)).fetchone() == (newest - 1,)


@pytest.mark.deep
def test_chosen_partitions_recompute_that_window_and_move_no_offset(definitions, warehouse, built):
    offsets = "select model, batch_seq, as_of::text from warehouse.model_offsets order by model"
    usage = "select date::text, message_count from marts.user_daily_usage order by date"
    right, before = warehouse.execute(usage).fetchall(), warehouse.execute(offsets).fetchall()
    assert right == [("2026-01-31", 1), ("2026-02-20", 1)]
    warehouse.execute("update marts.user_daily_usage set message_count = 99")

    run = _materialize(definitions, "user_daily_usage", "2026-01-01", "2026-01-31")

    assert run.success
    assert warehouse.execute(usage).fetchall() == [right[0], ("2026-02-20", 99)]
    assert warehouse.execute(offsets).fetchall() == before
    # One run, and a materialization of every partition of it.
    assert len(_partitions(run)["marts/user_daily_usage"]) == 31

    # Dagster knows of them: the next run does not tell of them again.
    assert "marts/user_daily_usage" not in _partitions(_run(definitions, "marketing_row"))

    assert _materialize(definitions, "user_monthly_usage", "2026-01-01", "2026-02-01").success
    assert _materialize(definitions, "user_daily_usage", "2026-02-20", "2026-02-20").success
    assert warehouse.execute(usage).fetchall() == right


def test_a_check_of_a_partitioned_mart_runs_alone_and_without_dbt(
    definitions, warehouse, built, monkeypatch
):
    monkeypatch.setattr("dagster_dbt.DbtCliResource.cli", lambda *_, **__: _cut_off())
    builds = "select count(*) from warehouse.builds"
    before = warehouse.execute(builds).fetchone()
    result = _check(definitions, "analytics_daily", "assert_leads_by_source_add_up")
    assert result.passed
    assert warehouse.execute(builds).fetchone() == before


def test_a_failed_check_shows_which_rows_and_how_to_repair_them_but_no_client(
    definitions, warehouse, built
):
    days = ["2026-02-03", "2026-02-05"]
    spoil = "update marts.analytics_daily set new_leads = 99 where date::text = any(%s)"
    assert warehouse.execute(spoil, (days,)).rowcount == 2
    result = _check(definitions, "analytics_daily", "assert_leads_by_source_add_up")
    shown = {name: value.value for name, value in result.metadata.items()}
    assert not result.passed
    assert shown["failing_rows"] == "- date 2026-02-03\n- date 2026-02-05"
    assert "new_leads" in shown["query"]
    command = "warehouse build --select analytics_daily --start 2026-02-03 --end 2026-02-06"
    assert f"`{command}`" in shown["repair"]
    assert "acme" not in str(shown)
    subprocess.run([*WAREHOUSE, *command.split()[1:]], check=True)
    assert _check(definitions, "analytics_daily", "assert_leads_by_source_add_up").passed


def _check(definitions: dg.Definitions, mart: str, name: str) -> dg.AssetCheckEvaluation:
    """Run one check of a mart as the UI does."""
    chosen = dg.AssetCheckKey(dg.AssetKey(["marts", mart]), name)
    job = definitions.resolve_implicit_global_asset_job_def().get_subset(
        asset_selection=set(), asset_check_selection={chosen}
    )
    run = job.execute_in_process(instance=INSTANCE, raise_on_error=False)
    (result,) = run.get_asset_check_evaluations()
    return result


def test_asset_pages_name_the_jobs_and_schedules_that_keep_them_fresh(definitions):
    from orchestration.definitions import timetable

    graph = definitions.resolve_asset_graph()
    of = {
        key.path[-1]: graph.get(key).metadata.get("kept_fresh_by")
        for key in graph.materializable_asset_keys
    }
    daily = "job everything, daily at 02:15 UTC (everything_schedule)"
    assert of["user_daily_usage"] == daily
    assert of["stats_daily"] == f"job traffic, hourly at :05 (traffic_schedule); {daily}"
    row = f"job marketing_row, every 10 minutes (marketing_row_schedule); {daily}"
    assert of["analytics_platform_stats"] == of["int_platform_stats"] == row
    assert "sensor dropped_files" in of["raw_events"]
    assert [name for name, jobs in of.items() if not jobs] == []
    names = {one.name for one in definitions.get_repository_def().schedule_defs}
    assert {job.schedule for job in timetable.BUILD_JOBS} <= names


@pytest.mark.deep
def test_a_failed_check_blocks_what_is_below_in_runs_to_come(definitions, warehouse, built):
    result = (
        "insert into warehouse.check_results (check_name, source, model, severity, passed, "
        "batch_seq) values ('dbt.planted', 'dbt', 'int_rated_chats', 'error', %s, 0)"
    )
    warehouse.execute(result, (False,))
    run = _materialize(definitions, "user_daily_usage", "2026-01-05", "2026-01-05")
    assert not run.success
    (failure,) = run.get_step_failure_events()
    assert "failing checks upstream: dbt.planted" in failure.step_failure_data.error.message
    # What is not built from it, and it itself, can be built.
    assert _materialize(
        definitions, "int_client_activity_daily", "2026-01-05", "2026-01-05"
    ).success
    # A whole build tests it anew; here the check is planted, and none of dbt's.
    before = _exported(warehouse)
    assert _failed_steps(_run_everything(definitions, raise_on_error=False)) == [
        "export_marketing_row"
    ]
    assert _exported(warehouse) == before

    warehouse.execute(result, (True,))
    assert _materialize(definitions, "user_daily_usage", "2026-01-05", "2026-01-05").success
    assert _run_everything(definitions).success


def test_the_watch_says_what_is_stale_and_how_old_it_is(definitions, warehouse):
    warehouse.execute("update warehouse.exports set updated_at = now() - interval '31 minutes'")
    run = _run(definitions, "watch")
    assert _failed_checks(run) == ["is_fresh"]
    query = "select job, detail from warehouse.run_events where run_id = %s"
    ((of, detail),) = warehouse.execute(query, (run.run_id,)).fetchall()
    assert of == "is_fresh of export"
    assert re.fullmatch(r"analytics_platform_stats \(age 0:31:\d\d, limit 0:30:00\)", detail)


def test_the_watch_says_which_part_of_serve_ends_again_and_again(definitions, warehouse):
    now = datetime.now(UTC)
    api = serve_state.PartState("API", None, now, serve_state.REPORTED_ENDS, "exit status 1", now)
    collector = serve_state.PartState("collector", os.getpid(), now, 1, "SIGKILL")
    serve_state.write(serve_state.Serving(os.getpid(), [api, collector]))
    try:
        run = _run(definitions, "watch")
    finally:
        serve_state.forget()
    assert "serve_keeps_running" in _failed_checks(run)
    query = "select detail from warehouse.run_events where run_id = %s and job = %s"
    ((detail,),) = warehouse.execute(query, (run.run_id, "serve_keeps_running")).fetchall()
    assert re.fullmatch(r"The API has been down since .*: it ended by itself 3 times .*", detail)
    assert "serve_keeps_running" not in _failed_checks(_run(definitions, "watch"))


def test_a_dropped_file_whose_load_was_cut_off_is_loaded_once(warehouse):
    drop = settings().drop
    _drop(drop / "events" / "cut.ndjson", _event("chat"))
    # Killed after the load, before the file was moved away.
    with pytest.MonkeyPatch.context() as patch:
        real, moves = drop_folder._move, iter([True, False])
        patch.setattr(drop_folder, "_move", lambda *to: real(*to) if next(moves) else _cut_off())
        with pytest.raises(KeyboardInterrupt):
            list(drop_folder.load_dropped(drop))
    loads = "select count(*) from staging.loads"
    before = warehouse.execute(loads).fetchone()
    # Its time is that of the move that did not come, from which its days would count.
    (left,) = (drop / "loading" / "events").iterdir()
    os.utime(left, (0, 0))
    assert [kind for kind, _ in drop_folder.waiting_files(drop)] == ["events"]

    (dropped,) = drop_folder.load_dropped(drop)

    assert (dropped.name, dropped.counts.accepted, dropped.counts.duplicates) == (
        "cut.ndjson",
        1,
        0,
    )
    assert warehouse.execute(loads).fetchone() == before
    assert "cut.ndjson" in _names(drop / "done")
    assert drop_folder.waiting_files(drop) == []


def test_dagster_keeps_its_runs_in_the_warehouse_where_it_is_set_to(
    definitions, warehouse, built, monkeypatch
):
    monkeypatch.setenv("WAREHOUSE_DAGSTER_STORAGE", "postgres")
    settings.cache_clear()
    for name, value in dagster_environment().items():
        monkeypatch.setenv(name, value)
    with dg.DagsterInstance.get() as instance:
        run = definitions.resolve_job_def("landing").execute_in_process(instance=instance)
    kept = warehouse.execute("select run_id, status from dagster.runs").fetchall()
    assert kept == [(run.run_id, "SUCCESS")]
    assert "postgresql" not in (settings().dagster_home / "dagster.yaml").read_text()


def test_a_second_dagster_on_the_same_instance_is_refused_before_it_takes_runs_for_lost(warehouse):
    with (
        processes.lock_instance(),
        pytest.raises(
            processes.ServeError, match=rf"already runs on .*, as processes {os.getpid()}\."
        ),
    ):
        processes.serve("127.0.0.1", 0, 0, 0, 0)
    processes.lock_instance().close()


def _cut_off() -> None:
    raise KeyboardInterrupt


LATE = "2026-01-05T12:00:00Z"
# Of all runs: the fixture `instance` sets it.
INSTANCE: dg.DagsterInstance = None  # type: ignore[assignment]


def _land(warehouse, *lines: bytes) -> int:
    """Load the lines, each as a batch of its own; return the last one's number."""
    for line in lines:
        path = settings().home / f"{uuid.uuid4()}.ndjson"
        path.write_bytes(line)
        load(open_source(str(path)))
    return warehouse.execute("select max(batch_seq) from staging.event_batches").fetchone()[0]


def _materialize(
    definitions: dg.Definitions, model: str, first: str, last: str
) -> dg.ExecuteInProcessResult:
    """Run the chosen partitions of a model as the UI does, as one run."""
    schema = "intermediate" if model.startswith("int_") else "marts"
    job = definitions.resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        return job.execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey([schema, model])],
            tags={
                "dagster/asset_partition_range_start": first,
                "dagster/asset_partition_range_end": last,
            },
            raise_on_error=False,
        )


def _partitions(run: dg.ExecuteInProcessResult) -> dict[str, set[str | None]]:
    """Return what was written, without what was only brought up to date: that has no figures."""
    found: dict[str, set[str | None]] = {}
    for event in run.get_asset_materialization_events():
        if event.step_materialization_data.materialization.metadata:
            found.setdefault(event.asset_key.to_user_string(), set()).add(event.partition)
    return found


def _failed_steps(run: dg.ExecuteInProcessResult) -> list[str]:
    return [event.step_key for event in run.get_step_failure_events()]


def _failed_checks(run: dg.ExecuteInProcessResult) -> list[str]:
    return [check.check_name for check in run.get_asset_check_evaluations() if not check.passed]


def _exported(warehouse) -> list[tuple[object, ...]]:
    return warehouse.execute("select xmin::text, * from export.analytics_platform_stats").fetchall()


def _run_everything(
    definitions: dg.Definitions, raise_on_error: bool = True
) -> dg.ExecuteInProcessResult:
    return _run(definitions, "everything", raise_on_error)


def _run(
    definitions: dg.Definitions, name: str, raise_on_error: bool = True
) -> dg.ExecuteInProcessResult:
    job = definitions.resolve_job_def(name)
    return job.execute_in_process(instance=INSTANCE, raise_on_error=raise_on_error)


def _event(name: str, at: str = "2026-01-31T12:00:00Z") -> bytes:
    event = {
        "event_id": str(uuid.uuid4()),
        "event": name,
        "timestamp": at,
        "actor": {"client_id": "acme", "unit_id": "u1"},
    }
    return json.dumps(event).encode() + b"\n"


def _drop(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    # It has stood still for long.
    os.utime(path, (0, 0))


def _names(directory: Path) -> set[str]:
    return {path.name for path in directory.rglob("*") if path.is_file()}
