"""Builds by offsets: what a crash, a neighbour, changed code or a failed check leaves behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from expectations.checks import run_checks
from ingestion.contract import tracking_plan
from ingestion.contract.envelope import event_shapes, event_union
from orchestration.operations import build as builds
from orchestration.operations import lineage
from orchestration.operations.build import BuildError, BuildOptions, build, dbt_environment
from orchestration.operations.export import ExportBlockedError, export_row
from tests.conftest import DEEP, Server
from tests.reference.stats import Event, day_parts, marketing_row
from tests.support.building import (
    MODELS,
    build_at,
    days,
    event,
    land,
    land_units,
    made_once,
    models_of_the_last_build,
    offsets,
    other_project,
    rows_of_models,
    start_afresh,
    stats_row,
    warm_warehouse,
)
from tests.support.killed_builds import (
    PATIENCE,
    backends_of_builds,
    blocked_at,
    kill_in,
    start_build,
    waiting_for_a_lock,
)
from tests.support.lines import rows
from tests.support.processes import until
from warehouse import database, session
from warehouse.settings import settings

SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)
AS_OF = datetime(2025, 4, 10, 12, tzinfo=UTC)

# Two batches: the second touches days of the first, late, and brings days and units of its own.
FIRST = [
    event("session", AS_OF - 20 * DAY, "u1"),
    event("session", AS_OF - HOUR, "u2"),
    event("chat", AS_OF - 40 * DAY),
    event("chat", AS_OF - 2 * DAY),
    event("pdf_download", AS_OF - 2 * DAY),
    event("pdf_download", AS_OF - 3 * DAY),
]
SECOND_BATCH = [
    event("session", AS_OF - 5 * DAY, "u3"),
    event("chat", AS_OF - 40 * DAY, client="beta"),
    event("chat", AS_OF - MICROSECOND),
    event("pdf_download", AS_OF - 10 * DAY),
]
UNITS = ("u1", "u2", "u3", "u4")


@pytest.fixture(scope="module")
def shared(servers: Callable[[int], Server]) -> Iterator[psycopg.Connection]:
    with warm_warehouse(servers(18), only=["int_platform_stats"]) as connection:
        yield connection


@pytest.fixture
def warehouse(shared: psycopg.Connection) -> psycopg.Connection:
    start_afresh(shared)
    return shared


@pytest.fixture
def built(shared: psycopg.Connection, tmp_path: Path) -> psycopg.Connection:
    """A warehouse with the first batch and some units, built."""
    made_once(shared, "built", lambda: build_first(tmp_path))
    return shared


def build_first(directory: Path) -> None:
    land_units(directory, UNITS, AS_OF - 90 * DAY)
    land(directory, FIRST)
    build_at(AS_OF)


def assert_right(
    connection: psycopg.Connection, events: list[Event], as_of: datetime = AS_OF
) -> None:
    assert stats_row(connection) == marketing_row(events, UNITS, as_of)
    assert days(connection) == day_parts(events, as_of)


def assert_equals_full_refresh(connection: psycopg.Connection, as_of: datetime = AS_OF) -> None:
    increments = rows_of_models(connection)
    build_at(as_of, full_refresh=True)
    assert rows_of_models(connection) == increments


def moved_at(connection: psycopg.Connection) -> dict[str, datetime]:
    return dict(
        connection.execute("select model, moved_at from warehouse.model_offsets").fetchall()
    )


def computed_at(connection: psycopg.Connection) -> dict[date, datetime]:
    return dict(
        connection.execute(
            "select activity_on, updated_at from intermediate.int_platform_activity_daily"
        ).fetchall()
    )


def number_of_builds(connection: psycopg.Connection) -> int:
    return connection.execute("select count(*) from warehouse.builds").fetchone()[0]


def build_without_dbt(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `warehouse build` in a fresh process in which dbt can't be imported."""
    program = (
        "import sys; sys.modules['dbt'] = None; sys.argv[0] = 'warehouse'; "
        "from orchestration.cli.app import main; main()"
    )
    return subprocess.run(
        [sys.executable, "-c", program, "build", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


# The build that is killed, and the one that goes on, with dbt or without.
@pytest.mark.parametrize(
    "ways",
    [(False, False), DEEP((False, True)), DEEP((True, False))],
    ids=["stored", "stored_then_dbt", "dbt_then_stored"],
)
@pytest.mark.parametrize("point", ["rows", DEEP("offset")])
@pytest.mark.parametrize(
    "model", [DEEP("int_chat_events"), "int_platform_activity_daily", DEEP("int_platform_stats")]
)
def test_a_killed_build_leaves_rows_and_offsets_in_step_and_started_again_ends_like_an_unbroken_one(
    built: psycopg.Connection, tmp_path: Path, model: str, point: str, ways: tuple[bool, bool]
) -> None:
    before_rows, before_offsets = rows_of_models(built), offsets(built)
    land(tmp_path, SECOND_BATCH)
    killed_with_dbt, with_dbt = ways
    kill_in(built, model, point, AS_OF, with_dbt=killed_with_dbt)

    after_rows, after_offsets = rows_of_models(built), offsets(built)
    assert after_offsets[model] == before_offsets[model]
    for each in MODELS:
        has_moved = after_offsets[each] != before_offsets[each]
        assert (after_rows[each] != before_rows[each]) == has_moved, each

    assert build_at(AS_OF, with_dbt=with_dbt).ran_dbt == with_dbt
    assert_right(built, FIRST + SECOND_BATCH)
    assert set(offsets(built).values()) == {(3, None), (3, AS_OF)}
    assert_equals_full_refresh(built)


@pytest.mark.deep
def test_a_first_build_that_is_killed_leaves_no_table_without_an_offset(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    start_afresh(warehouse, keeps_code=False)
    land_units(tmp_path, UNITS, AS_OF - 90 * DAY)
    land(tmp_path, FIRST)
    kill_in(warehouse, "int_platform_activity_daily", "offset", AS_OF, with_dbt=True)
    tables = warehouse.execute(
        "select tablename from pg_tables where schemaname = 'intermediate'"
    ).fetchall()
    assert {name for (name,) in tables} & set(MODELS) == set(offsets(warehouse))
    assert "int_platform_activity_daily" not in offsets(warehouse)
    assert build_at(AS_OF).why_dbt == "not everything has been built yet"
    assert_right(warehouse, FIRST)
    assert_equals_full_refresh(warehouse)


@pytest.mark.deep
@pytest.mark.parametrize("with_dbt", [True, False])
def test_a_killed_full_refresh_leaves_every_row_that_it_had_not_replaced(
    built: psycopg.Connection, with_dbt: bool
) -> None:
    before = rows_of_models(built)
    kill_in(
        built, "int_platform_activity_daily", "offset", AS_OF, "--full-refresh", with_dbt=with_dbt
    )
    assert rows_of_models(built) == before
    assert built.execute("select state from warehouse.builds order by started_at").fetchall() == [
        ("done",),
        ("running",),
    ]
    assert not build_at(AS_OF).ran_dbt, "what dbt stored before still holds"
    assert_right(built, FIRST)


@pytest.mark.deep
def test_two_builds_at_once_run_one_after_the_other_and_end_right(
    built: psycopg.Connection, tmp_path: Path
) -> None:
    land(tmp_path, SECOND_BATCH)
    both = [start_build("--as-of", AS_OF.isoformat(), "--full-refresh") for _ in range(2)]
    for process in both:
        _, said = process.communicate(timeout=2 * PATIENCE)
        assert process.returncode == 0, said
    assert_right(built, FIRST + SECOND_BATCH)
    assert built.execute(
        "select count(*), bool_and(state = 'done'), bool_and(ended_at <= next_started_at) from ("
        "select *, lead(started_at) over (order by started_at) as next_started_at "
        "from warehouse.builds) as b"
    ).fetchone() == (3, True, True)


def test_a_batch_that_lands_while_a_build_runs_waits_for_the_next_build(
    built: psycopg.Connection, tmp_path: Path
) -> None:
    land(tmp_path, SECOND_BATCH)
    with blocked_at("int_platform_activity_daily", "rows"):
        process = start_build("--as-of", AS_OF.isoformat())
        until(lambda: waiting_for_a_lock(built) or process.poll() is not None)
        land(tmp_path, [event("chat", AS_OF - DAY, "u1")])
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    assert_right(built, FIRST + SECOND_BATCH)
    assert {batch_seq for batch_seq, _ in offsets(built).values()} == {3}


@pytest.mark.deep
def test_two_bare_dbt_builds_at_once_end_right(
    built: psycopg.Connection, tmp_path: Path, small_project: Path
) -> None:
    land(tmp_path, SECOND_BATCH)
    both = []
    for number in range(2):
        environment = dbt_environment() | {
            "DBT_TARGET_PATH": str(tmp_path / f"target_{number}"),
            "DBT_LOG_PATH": str(tmp_path / f"logs_{number}"),
            "DBT_PROJECT_DIR": str(small_project),
            "WAREHOUSE_BUILD_AS_OF": AS_OF.isoformat(),
        }
        both.append(
            subprocess.Popen(
                [sys.executable, "-m", "dbt.cli.main", *builds.dbt_command("build")],
                env=os.environ | environment,
                stdout=subprocess.PIPE,
                text=True,
            )
        )  # fmt: skip
    for process in both:
        said, _ = process.communicate(timeout=2 * PATIENCE)
        assert process.returncode == 0, said
    assert_right(built, FIRST + SECOND_BATCH)
    assert set(offsets(built).values()) == {(3, None), (3, AS_OF)}


@pytest.mark.parametrize("with_dbt", [DEEP(True), False])
def test_a_build_that_waits_too_long_for_others_fails_and_names_them(
    built: psycopg.Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    with_dbt: bool,
) -> None:
    monkeypatch.setitem(session.LIMITS, "lock_timeout", "4s")
    before = offsets(built)
    land(tmp_path, SECOND_BATCH)
    with psycopg.connect(settings().server_url.get_secret_value(), application_name="psql") as ann:
        ann.execute("lock table intermediate.int_platform_stats in share mode")
        with pytest.raises(BuildError) as failed:
            build_at(AS_OF + timedelta(hours=1), with_dbt=with_dbt)
        holder = f"Session {ann.info.backend_pid} of postgres (psql) holds it: idle in transaction"
        assert holder in str(failed.value)
    assert offsets(built)["int_platform_stats"] == before["int_platform_stats"]
    build_at(AS_OF + timedelta(hours=1))
    assert offsets(built)["int_platform_stats"][1] == AS_OF + timedelta(hours=1)


@pytest.mark.parametrize("with_dbt", [DEEP(True), False])
def test_a_build_waits_for_another_one_at_a_model_however_long_that_takes(
    built: psycopg.Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    with_dbt: bool,
) -> None:
    monkeypatch.setitem(session.LIMITS, "lock_timeout", "1s")
    land(tmp_path, SECOND_BATCH)
    failures: list[BaseException] = []

    def build() -> None:
        try:
            build_at(AS_OF + timedelta(hours=1), with_dbt=with_dbt)
        except BaseException as error:
            failures.append(error)

    with psycopg.connect(settings().server_url.get_secret_value()) as other:
        other.execute(
            "select warehouse.begin_model(m, b.invocation_id, false) "
            "from warehouse.stored_models as m, warehouse.builds as b "
            "where m.model = 'int_platform_stats'"
        )
        thread = threading.Thread(target=build)
        thread.start()
        waiting = "select cardinality(pg_blocking_pids(pid)) from pg_stat_activity where pid <> %s"
        until(lambda: (1,) in rows(built, waiting, built.info.backend_pid))
        time.sleep(2)
        assert thread.is_alive()
    thread.join()
    assert failures == []


def test_an_earlier_as_of_is_refused_before_dbt_starts_with_a_sentence_on_what_to_do(
    built: psycopg.Connection,
) -> None:
    before = rows_of_models(built), offsets(built), number_of_builds(built)
    refused = build_without_dbt("--as-of", (AS_OF - MICROSECOND).isoformat())
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert refused.stderr.startswith(
        "warehouse: as_of 2025-04-10 11:59:59.999999+00 lies before that of the last build, "
        "2025-04-10 12:00:00+00. "
    )
    assert "--full-refresh" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert (rows_of_models(built), offsets(built), number_of_builds(built)) == before


@pytest.mark.parametrize("model", MODELS)
def test_an_earlier_as_of_is_refused_for_one_model_too(
    built: psycopg.Connection, model: str
) -> None:
    with pytest.raises(BuildError, match="lies before that of the last build"):
        build_at(AS_OF - SECOND, select=model)


def test_a_full_refresh_may_go_to_an_earlier_as_of_and_back(built: psycopg.Connection) -> None:
    build_at(AS_OF - 30 * DAY, full_refresh=True)
    assert_right(built, FIRST, AS_OF - 30 * DAY)
    build_at(AS_OF)
    assert_right(built, FIRST)


def test_with_nothing_new_dbt_is_not_even_imported_and_the_row_is_renewed_all_the_same(
    built: psycopg.Connection,
) -> None:
    later = AS_OF + 10 * DAY + MICROSECOND
    build_at(later - HOUR)
    slid = build_without_dbt("--as-of", later.isoformat(), "--json")
    assert slid.returncode == 0, slid.stderr
    assert json.loads(slid.stdout)["why_dbt"] is None
    assert stats_row(built).active_users == 1, "u1 fell out of the 720 hours"
    assert_right(built, FIRST, later)
    assert set(offsets(built).values()) == {(2, None), (2, later)}
    assert_equals_full_refresh(built, later)


def test_a_unit_falls_out_of_the_720_hours_a_microsecond_after_they_have_passed(
    built: psycopg.Connection,
) -> None:
    # Of u1's session; u2's is younger.
    edge = AS_OF - 20 * DAY + 720 * HOUR
    build_at(edge - HOUR)
    for as_of, active in [(edge, 2), (edge + MICROSECOND, 1)]:
        assert not build_at(as_of).ran_dbt
        assert (stats_row(built).active_users, stats_row(built).updated_at) == (active, as_of)


def test_a_build_with_nothing_new_rewrites_only_time_dependent_models(
    built: psycopg.Connection,
) -> None:
    before = computed_at(built)
    build_at(AS_OF + HOUR)
    assert models_of_the_last_build(built) == {"int_platform_stats"}
    build_at(AS_OF + DAY)
    assert computed_at(built) == before


@pytest.mark.parametrize("name", ["session", "chat", "pdf_download"])
def test_an_event_appears_once_as_of_has_passed_it_without_a_new_batch(
    built: psycopg.Connection, tmp_path: Path, name: str
) -> None:
    ahead = event(name, AS_OF + HOUR, "u4")
    land(tmp_path, [ahead])
    build_at(AS_OF)
    assert_right(built, FIRST)
    build_at(AS_OF + HOUR)
    assert models_of_the_last_build(built) == {"int_platform_stats"}, "as_of itself is not visible"
    assert_right(built, FIRST, AS_OF + HOUR)
    before = stats_row(built)

    visible_from = AS_OF + HOUR + MICROSECOND
    build_at(visible_from)
    assert_right(built, [*FIRST, ahead], visible_from)
    assert replace(stats_row(built), updated_at=before.updated_at) != before
    assert_equals_full_refresh(built, visible_from)


def test_a_day_that_an_old_event_enters_is_recomputed_together_with_a_new_batch(
    built: psycopg.Connection, tmp_path: Path
) -> None:
    ahead, late = event("chat", AS_OF + HOUR), event("chat", AS_OF - 40 * DAY)
    land(tmp_path, [ahead])
    build_at(AS_OF)
    land(tmp_path, [late])
    build_at(AS_OF + DAY)
    assert_right(built, [*FIRST, ahead, late], AS_OF + DAY)


def test_a_unit_that_joins_changes_the_rate(built: psycopg.Connection, tmp_path: Path) -> None:
    land_units(tmp_path, ["u5"], AS_OF - DAY)
    build_at(AS_OF)
    assert stats_row(built) == marketing_row(FIRST, [*UNITS, "u5"], AS_OF)


def test_a_batch_recomputes_exactly_the_days_that_it_touches(
    built: psycopg.Connection, tmp_path: Path
) -> None:
    before = computed_at(built)
    land(tmp_path, SECOND_BATCH)
    build_at(AS_OF)
    touched = {
        datetime.fromisoformat(one["timestamp"]).date()
        for one in SECOND_BATCH
        if one["event"] != "session"
    }
    after = computed_at(built)
    assert {day for day in after if after[day] != before.get(day)} == touched
    assert set(before) < set(after)
    assert set(before) & touched, "a day that was there before is among them"


def test_a_batch_of_sessions_alone_touches_no_day(
    built: psycopg.Connection, tmp_path: Path
) -> None:
    before = computed_at(built)
    late = event("session", AS_OF - DAY, "u9")
    land(tmp_path, [late])
    build_at(AS_OF)
    assert computed_at(built) == before
    assert_right(built, [*FIRST, late])


def test_a_window_is_recomputed_as_of_the_last_build_and_moves_no_offset(
    built: psycopg.Connection, tmp_path: Path
) -> None:
    land(tmp_path, SECOND_BATCH)
    stood = offsets(built), moved_at(built)
    start, end = (AS_OF - 5 * DAY).date(), (AS_OF - DAY).date()
    outside, no_event_on = (AS_OF - 40 * DAY).date(), (AS_OF - 5 * DAY).date()
    built.execute("update intermediate.int_platform_activity_daily set chats = 99")
    built.execute(
        "insert into intermediate.int_platform_activity_daily values "
        "(%s, 7, 7, now()), (%s, 8, 8, now())",
        (no_event_on, end),
    )
    build(BuildOptions(start=start, end=end))
    assert (offsets(built), moved_at(built)) == stood
    found = {day.activity_on: day for day in days(built)}
    right = {day.activity_on: day for day in day_parts(FIRST, AS_OF)}
    assert {day: found[day] for day in found if start <= day < end} == {
        day: right[day] for day in right if start <= day < end
    }
    assert found[outside].chats == 99
    assert found[end].chats == 8, "the window's end is not in it"
    assert stats_row(built).updated_at == AS_OF

    # What the window did not read is still unread.
    build_at(AS_OF)
    assert (AS_OF - MICROSECOND).date() in {day.activity_on for day in days(built)}


def test_a_downstream_model_built_alone_does_not_move_past_its_upstream(
    built: psycopg.Connection, tmp_path: Path
) -> None:
    before = rows_of_models(built), offsets(built)
    land(tmp_path, SECOND_BATCH)
    for model in ("int_platform_activity_daily", "int_platform_stats"):
        build_at(AS_OF + DAY, select=model)
        if model == "int_platform_activity_daily":
            # Its facts hold every event of the batches so far: as_of may go on.
            assert offsets(built)[model] == (2, AS_OF + DAY)
    assert offsets(built)["int_platform_stats"] == (2, AS_OF + DAY)
    assert rows_of_models(built)["int_chat_events"] == before[0]["int_chat_events"]
    assert_right(built, FIRST, AS_OF + DAY)
    build_at(AS_OF + DAY)
    assert_right(built, FIRST + SECOND_BATCH, AS_OF + DAY)


def test_a_downstream_model_built_alone_goes_as_far_as_the_lowest_upstream(
    built: psycopg.Connection, tmp_path: Path
) -> None:
    land(tmp_path, SECOND_BATCH)
    build_at(AS_OF, select="int_chat_events")
    build_at(AS_OF, select="int_platform_activity_daily")
    assert offsets(built)["int_chat_events"] == (3, None)
    assert offsets(built)["int_platform_activity_daily"] == (2, AS_OF)
    assert days(built) == day_parts(FIRST, AS_OF)
    build_at(AS_OF)
    assert_right(built, FIRST + SECOND_BATCH)


def test_a_model_whose_upstream_was_never_built_says_what_to_build_first(
    warehouse: psycopg.Connection,
) -> None:
    build_at(AS_OF)
    warehouse.execute("delete from warehouse.model_offsets where model = 'int_chat_events'")
    with pytest.raises(BuildError, match="int_chat_events, which was never built"):
        build_at(AS_OF, select="int_platform_activity_daily")


@pytest.fixture
def alterable(warehouse: psycopg.Connection) -> Iterator[None]:
    """Let a test alter the tables of the warehouse, which others share."""
    yield
    start_afresh(warehouse, keeps_code=False)


@pytest.mark.usefixtures("alterable")
def test_grants_policies_and_views_of_others_survive_builds_and_full_refreshes(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    build_first(tmp_path)
    relations = [
        name
        for (name,) in warehouse.execute(
            "select relname from pg_class where relnamespace = 'intermediate'::regnamespace "
            "and relkind in ('r', 'v')"
        )
    ]
    assert len(relations) > len(MODELS), "views are among them"
    for name in relations:
        table = sql.Identifier("intermediate", name)
        warehouse.execute(sql.SQL("grant select on {} to pg_monitor").format(table))
        view = sql.Identifier("intermediate", f"theirs_{name}")
        warehouse.execute(sql.SQL("create view {} as select * from {}").format(view, table))
    warehouse.execute("alter table intermediate.int_platform_stats enable row level security")
    warehouse.execute("create policy theirs on intermediate.int_platform_stats using (true)")

    def facts() -> list[tuple]:
        return warehouse.execute(
            "select oid, relname, relacl::text, relrowsecurity, "
            "(select count(*) from pg_policy where polrelid = c.oid) from pg_class as c "
            "where relnamespace = 'intermediate'::regnamespace and relkind in ('r', 'v') "
            "order by relname"
        ).fetchall()

    before = facts()
    land(tmp_path, SECOND_BATCH)
    build_at(AS_OF)
    build_at(AS_OF + DAY)
    build_at(AS_OF + DAY, full_refresh=True)
    assert facts() == before
    assert warehouse.execute(
        "select questions_answered from intermediate.theirs_int_platform_stats"
    ).fetchone() == (4,)


@pytest.fixture
def small_project(tmp_path: Path) -> Path:
    """A copy of the part of the dbt project that is built here, which is soon read anew."""
    copy = tmp_path / "dbt_project"
    others = shutil.ignore_patterns("target", "logs", ".user.yml", "marts", "analyses", "functions")
    shutil.copytree(builds.DBT_PROJECT, copy, ignore=others)
    for test in (copy / "tests").iterdir():
        if "platform_stats" not in test.name and "all_time_counts" not in test.name:
            test.unlink()
    return copy


@pytest.fixture
def project(small_project: Path) -> Iterator[Path]:
    """That part of the dbt project, which builds use."""
    with other_project(small_project):
        yield small_project


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_no_manifest_is_taken_for_that_of_other_code(
    warehouse: psycopg.Connection, project: Path
) -> None:
    parsed = lineage.manifest()
    path = lineage.manifest_path()
    # As a run of dbt does, of any code; another process may read it in the middle.
    (settings().dbt_target / "manifest.json").write_text("{")
    forget_manifests()
    assert lineage.manifest() == parsed
    edit(project / "models/staging/stg_chat_events.sql", "from raw_events", "from raw_events ")
    forget_manifests()
    assert lineage.manifest()["nodes"].keys() == parsed["nodes"].keys()
    assert lineage.manifest_path() != path
    assert not path.exists(), "those of earlier code are no longer of use"


def forget_manifests() -> None:
    lineage.manifest.cache_clear()
    lineage.manifest_path.cache_clear()


def xmins(connection: psycopg.Connection, model: str) -> list[tuple[str]]:
    return connection.execute(
        sql.SQL("select xmin::text from {} order by 1").format(
            sql.Identifier("intermediate", model)
        )
    ).fetchall()


CHANGES = {
    "a staging view": (
        "models/staging/stg_chat_events.sql",
        "    from raw_events\n)",
        "    from raw_events where client_id <> 'beta'\n)",
    ),
    "the parts": (
        "models/intermediate/int_platform_activity_daily.sql",
        "0 as pdf_downloads\n    from chats",
        "0 as pdf_downloads\n    from chats where activity_on <> '2025-03-01'",
    ),
}


@pytest.mark.parametrize("change", ["the parts", DEEP("a staging view")])
def test_a_changed_model_is_rebuilt_and_so_are_its_descendants_and_no_other(
    warehouse: psycopg.Connection, tmp_path: Path, project: Path, change: str
) -> None:
    land(tmp_path, FIRST + SECOND_BATCH)
    build_at(AS_OF)
    before = {model: xmins(warehouse, model) for model in MODELS}
    file, old, new = CHANGES[change]
    edit(project / file, old, new)

    assert (build_at(AS_OF).why_dbt or "").startswith("the code has changed")
    assert stats_row(warehouse).questions_answered == (3 if change == "a staging view" else 2)
    rewritten = {model for model in MODELS if xmins(warehouse, model) != before[model]}
    assert rewritten == {"int_platform_activity_daily", "int_platform_stats"} | (
        {"int_chat_events"} if change == "a staging view" else set()
    )
    assert not build_at(AS_OF).ran_dbt, "and then it is known"


@pytest.mark.deep
def test_a_changed_macro_rebuilds_the_models_whose_views_it_is_in(
    warehouse: psycopg.Connection, tmp_path: Path, project: Path
) -> None:
    chat = event("chat", AS_OF - DAY) | {"properties": {"mood": "calm", "message_id": "m"}}
    land(tmp_path, [chat])
    build_at(AS_OF)
    edit(project / "macros/chat_properties.sql", "'conversation_id',", "'conversation_id', 'mood',")
    build_at(AS_OF)
    assert warehouse.execute("select metadata from intermediate.int_chat_events").fetchone() == (
        {},
    )


@pytest.mark.deep
def test_a_change_of_what_touches_a_cell_rebuilds_the_model(
    warehouse: psycopg.Connection, tmp_path: Path, project: Path
) -> None:
    models = project / "models/intermediate/_intermediate__models.yml"
    declared = "int_chat_events: [occurred_on]\n          int_pdf_download_events: [occurred_on]\n"
    changed = declared.replace("[occurred_on]", "{columns: [occurred_on], where: 1 = 0}", 1)
    edit(models, declared, changed)
    build_at(AS_OF)
    land(tmp_path, FIRST)
    build_at(AS_OF)
    assert stats_row(warehouse).questions_answered < 2, "the fault hides what came"
    edit(models, changed, declared)
    build_at(AS_OF)
    assert_right_without_units(warehouse, FIRST)


@pytest.mark.deep
def test_a_column_that_a_fact_gains_is_filled_for_old_events_too(
    warehouse: psycopg.Connection, tmp_path: Path, project: Path
) -> None:
    land(tmp_path, FIRST)
    build_at(AS_OF)
    warehouse.execute("create view theirs as select * from intermediate.int_session_events")
    edit(
        project / "models/staging/stg_session_events.sql",
        "        nullif(actor ->> 'unit_id', '') as unit_id,\n",
        "        length(actor ->> 'unit_id') as unit_length,\n"
        "        nullif(actor ->> 'unit_id', '') as unit_id,\n",
    )
    for folder in ("staging/_staging", "intermediate/_intermediate"):
        edit(
            project / f"models/{folder}__models.yml",
            "      - name: unit_id\n        data_type: text\n"
            '        description: "The unit (home) that was opened',
            "      - name: unit_length\n        data_type: integer\n        description: Length.\n"
            "      - name: unit_id\n        data_type: text\n"
            '        description: "The unit (home) that was opened',
        )
    build_at(AS_OF)
    assert warehouse.execute(
        "select unit_id, unit_length from intermediate.int_session_events order by 1"
    ).fetchall() == [("u1", 2), ("u2", 2)]
    assert warehouse.execute("select count(*) from theirs").fetchone() == (2,)
    warehouse.execute("drop view theirs")


@pytest.mark.deep
def test_after_a_build_of_some_models_code_that_is_changed_back_is_rebuilt(
    warehouse: psycopg.Connection, tmp_path: Path, project: Path
) -> None:
    land(tmp_path, FIRST)
    build_at(AS_OF)
    parts = project / "models/intermediate/int_platform_activity_daily.sql"
    edit(parts, "sum(chats) as chats", "2 * sum(chats) as chats")
    build_at(AS_OF, select="int_platform_activity_daily+")
    assert stats_row(warehouse).questions_answered == 4
    edit(parts, "2 * sum(chats) as chats", "sum(chats) as chats")
    build_at(AS_OF)
    assert_right_without_units(warehouse, FIRST)


def assert_right_without_units(connection: psycopg.Connection, events: list[Event]) -> None:
    assert stats_row(connection) == marketing_row(events, (), AS_OF)
    assert days(connection) == day_parts(events, AS_OF)


INTENTS = "'simple_lookup', 'regulatory', 'comparative', 'complex'"


@pytest.fixture
def smalltalk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A plan that takes a value more."""
    caches = (tracking_plan.tracking_plan, event_union, event_shapes)
    wider = tmp_path / "tracking_plan.yml"
    shutil.copy(tracking_plan.PLAN_FILE, wider)
    edit(wider, "[simple_lookup, ", "[smalltalk, simple_lookup, ")
    monkeypatch.setattr(tracking_plan, "PLAN_FILE", wider)
    for cached in caches:
        cached.cache_clear()
    yield
    monkeypatch.undo()
    for cached in caches:
        cached.cache_clear()


@pytest.mark.deep
@pytest.mark.usefixtures("smalltalk")
def test_a_value_that_an_enumeration_gains_is_taken_by_the_next_increment(
    warehouse: psycopg.Connection, tmp_path: Path, project: Path
) -> None:
    land(tmp_path, FIRST)
    build_at(AS_OF)
    before = xmins(warehouse, "int_chat_events")
    land(tmp_path, [event("chat", AS_OF - DAY) | {"properties": {"query_intent": "smalltalk"}}])
    with pytest.raises(BuildError, match="int_chat_events"):
        build_at(AS_OF)

    declared = project / "models/intermediate/_intermediate__models.yml"
    edit(declared, INTENTS, f"{INTENTS}, 'smalltalk'")
    build_at(AS_OF)
    assert stats_row(warehouse).questions_answered == 3
    assert set(before) < set(xmins(warehouse, "int_chat_events")), "old rows stay as they are"

    # One that goes while a row has it: the table stays as it is, and so do its rows.
    constraints = declared_by(warehouse, "int_chat_events")
    edit(declared, f"{INTENTS}, 'smalltalk'", INTENTS)
    with pytest.raises(BuildError, match="int_chat_events"):
        build_at(AS_OF)
    assert declared_by(warehouse, "int_chat_events") == constraints
    # A full rebuild replaces the row, here by one that has it, too; and then by none.
    with pytest.raises(BuildError, match="int_chat_events"):
        build_at(AS_OF, full_refresh=True)
    edit(
        project / "models/staging/stg_chat_events.sql",
        "from raw_events\n)",
        "from raw_events where properties ->> 'query_intent' is null\n)",
    )
    build_at(AS_OF)
    assert stats_row(warehouse).questions_answered == 2
    assert declared_by(warehouse, "int_chat_events") != constraints


def declared_by(connection: psycopg.Connection, model: str) -> dict[str, str]:
    """Return constraints and indexes by name, and types of columns, as the table has them."""
    return dict(
        connection.execute(
            "select conname, pg_get_constraintdef(oid) from pg_constraint "
            "where conrelid = %(table)s::regclass and contype <> 'n' union all "
            "select indexrelid::regclass::text, pg_get_indexdef(indexrelid) from pg_index "
            "where indrelid = %(table)s::regclass union all "
            "select attname, format_type(atttypid, atttypmod) || ' ' || attnotnull "
            "from pg_attribute "
            "where attrelid = %(table)s::regclass and attnum > 0 and not attisdropped",
            {"table": f"intermediate.{model}"},
        ).fetchall()
    )


KEY = "      - {type: primary_key, columns: [client_id, event_id, occurred_at]}\n"
DOWNLOADS = (
    "      One row per `pdf_download` event ever: the typed fact, kept when its raw event is "
    "dropped.\n    constraints:\n"
)
ITS_DAY = (
    "      - name: occurred_on\n        data_type: date\n"
    '        description: "UTC day of `occurred_at`."\n'
)
DECLARATIONS = {
    "a key of other columns": (
        DOWNLOADS + KEY,
        DOWNLOADS + KEY.replace("client_id, event_id,", "event_id, client_id,"),
        ["PRIMARY KEY (event_id, client_id, occurred_at)"],
        ["PRIMARY KEY (client_id, event_id, occurred_at)"],
    ),
    "a key more": (
        DOWNLOADS + KEY,
        DOWNLOADS + KEY + "      - {type: unique, columns: [event_id, occurred_at]}\n",
        ["PRIMARY KEY (client_id, event_id, occurred_at)", "UNIQUE (event_id, occurred_at)"],
        [],
    ),
    "a check more": (
        DOWNLOADS + KEY,
        DOWNLOADS + KEY + "      - {type: check, name: named, expression: \"client_id <> ''\"}\n",
        ["CHECK ((client_id <> ''::text))"],
        [],
    ),
    "a column that may be empty now": (
        f"{ITS_DAY}        constraints: [{{type: not_null}}]\n",
        ITS_DAY,
        ["date false"],
        ["date true"],
    ),
}


@pytest.mark.parametrize(
    "change", ["a check more", *(DEEP(name) for name in DECLARATIONS if name != "a check more")]
)
def test_a_table_follows_what_its_model_declares_and_back_and_its_rows_stay(
    built: psycopg.Connection, project: Path, change: str
) -> None:
    old, new, comes, goes = DECLARATIONS[change]
    declared = project / "models/intermediate/_intermediate__models.yml"
    before = declared_by(built, "int_pdf_download_events")
    rows = xmins(built, "int_pdf_download_events")
    edit(declared, old, new)
    build_at(AS_OF)
    after = declared_by(built, "int_pdf_download_events")
    assert set(comes) <= set(after.values())
    assert not set(goes) & set(after.values())
    edit(declared, new, old)
    build_at(AS_OF)
    assert declared_by(built, "int_pdf_download_events").items() >= before.items()
    assert xmins(built, "int_pdf_download_events") == rows


@pytest.mark.deep
def test_indexes_follow_what_a_model_declares_and_those_of_others_stay(
    built: psycopg.Connection, project: Path
) -> None:
    built.execute("create index theirs on intermediate.int_pdf_download_events (unit_id)")
    # As dbt named them.
    built.execute(f'create index "{"ab" * 16}" on intermediate.int_pdf_download_events (batch_seq)')
    before = declared_by(built, "int_pdf_download_events")
    indexes = (
        "  - name: int_pdf_download_events\n    config:\n      indexes:\n"
        "        - {columns: [%s]}\n        - {columns: [occurred_on]}\n"
    )
    edit(
        project / "models/intermediate/_intermediate__models.yml",
        indexes % "batch_seq",
        indexes % "occurred_at, lower(client_id)",
    )
    build_at(AS_OF)
    after = declared_by(built, "int_pdf_download_events")
    on = "int_pdf_download_events USING btree "
    gone = [text.partition(on)[2] for name, text in before.items() if name not in after]
    come = [text.partition(on)[2] for name, text in after.items() if name not in before]
    assert (gone, come) == (["(batch_seq)"] * 2, ["(occurred_at, lower(client_id))"])
    assert "intermediate.theirs" in after


@pytest.mark.deep
def test_a_column_follows_its_declared_type(built: psycopg.Connection, project: Path) -> None:
    edit(
        project / "models/intermediate/_intermediate__models.yml",
        "      - name: chats\n        data_type: bigint\n",
        "      - name: chats\n        data_type: numeric\n",
    )
    edit(
        project / "models/intermediate/int_platform_activity_daily.sql",
        "sum(chats) as chats",
        "sum(chats)::numeric as chats",
    )
    build_at(AS_OF)
    assert declared_by(built, "int_platform_activity_daily")["chats"] == "numeric true"
    assert_right(built, FIRST)


def exported(connection: psycopg.Connection) -> list[tuple]:
    """Return the row that the site sees, with the transaction that wrote it."""
    return connection.execute(
        "select xmin::text, ctid::text, * from export.analytics_platform_stats"
    ).fetchall()


def test_the_export_writes_exactly_the_row_that_was_built_and_checked(
    built: psycopg.Connection,
) -> None:
    run_checks(suites=["platform_stats"])
    row = export_row()
    (found,) = exported(built)
    right = marketing_row(FIRST, UNITS, AS_OF)
    assert found[2:] == (
        1,
        right.active_users,
        right.questions_answered,
        right.pdf_downloads,
        right.engagement_rate,
        right.updated_at,
    )
    assert (row.active_users, row.updated_at) == (right.active_users, AS_OF)


def test_a_row_that_was_not_checked_since_it_was_built_is_not_exported(
    built: psycopg.Connection, tmp_path: Path
) -> None:
    with pytest.raises(ExportBlockedError, match="was not checked yet"):
        export_row()
    assert exported(built) == []
    run_checks(suites=["platform_stats"])
    export_row()
    last_good = exported(built)

    build_at(AS_OF + HOUR)
    with pytest.raises(ExportBlockedError, match="as of 2025-04-10 13:00:00 was not checked yet"):
        export_row()
    land(tmp_path, SECOND_BATCH)
    build_at(AS_OF + HOUR)
    with pytest.raises(ExportBlockedError, match="was not checked yet"):
        export_row()
    assert exported(built) == last_good


@pytest.mark.deep
def test_a_row_whose_dbt_tests_were_cut_off_by_a_kill_is_not_exported(
    built: psycopg.Connection, tmp_path: Path
) -> None:
    run_checks(suites=["platform_stats"])
    export_row()
    last_good = exported(built)
    land(tmp_path, SECOND_BATCH)
    kill_in(built, "int_platform_stats", "results of tests", AS_OF)
    assert_right(built, FIRST + SECOND_BATCH)

    run_checks(suites=["platform_stats"])
    with pytest.raises(ExportBlockedError, match="has not ended"):
        export_row()
    assert exported(built) == last_good
    build_at(AS_OF)
    run_checks(suites=["platform_stats"])
    export_row()
    assert exported(built) != last_good


def test_a_failed_dbt_test_blocks_the_export_until_it_passes_and_the_last_good_row_stays(
    built: psycopg.Connection, project: Path
) -> None:
    run_checks(suites=["platform_stats"])
    export_row()
    last_good = exported(built)

    planted = project / "tests/assert_no_question_was_answered.sql"
    planted.write_text("select * from {{ ref('int_platform_stats') }} where questions_answered > 0")
    later = AS_OF + HOUR
    with pytest.raises(BuildError, match="The build failed in assert_no_question_was_answered"):
        build_at(later)
    run_checks(suites=["platform_stats"])
    with pytest.raises(
        ExportBlockedError, match=r"failed checks: dbt\.assert_no_question_was_answered"
    ):
        export_row()
    assert exported(built) == last_good

    planted.write_text("select * from {{ ref('int_platform_stats') }} where questions_answered < 0")
    build_at(later)
    run_checks(suites=["platform_stats"])
    export_row()
    (row,) = exported(built)
    assert row[-1] == later


@pytest.mark.deep
def test_a_build_fails_as_long_as_a_test_fails_though_nothing_is_new(
    built: psycopg.Connection, project: Path
) -> None:
    planted = project / "tests/assert_nothing.sql"
    planted.write_text("select * from {{ ref('int_platform_activity_daily') }}")
    for _ in range(3):
        with pytest.raises(BuildError, match="assert_nothing"):
            build_at(AS_OF)


@pytest.mark.deep
@pytest.mark.parametrize("with_dbt", [True, False])
def test_a_failing_test_stops_what_is_downstream_and_nothing_else(
    warehouse: psycopg.Connection, tmp_path: Path, project: Path, with_dbt: bool
) -> None:
    (project / "tests/assert_few_days.sql").write_text(
        "select max(activity_on) from {{ ref('int_platform_activity_daily') }} having count(*) > 3"
    )
    land(tmp_path, FIRST)
    build_at(AS_OF)
    before = offsets(warehouse)
    land(tmp_path, SECOND_BATCH)
    for _ in range(2):
        with pytest.raises(BuildError, match="assert_few_days"):
            build_at(AS_OF, with_dbt=with_dbt)
        assert offsets(warehouse)["int_platform_stats"] == before["int_platform_stats"]
    assert {
        seq for model, (seq, _) in offsets(warehouse).items() if model != "int_platform_stats"
    } == {2}
    (project / "tests/assert_few_days.sql").unlink()
    build_at(AS_OF, with_dbt=with_dbt)
    assert stats_row(warehouse).questions_answered == 4


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (
            "drop table intermediate.int_platform_activity_daily",
            "intermediate.int_platform_activity_daily is missing",
        ),
        DEEP("drop view intermediate.stg_units", "intermediate.stg_units is missing"),
        DEEP("update warehouse.stored_models set code_digest = ''", "the code has changed"),
        DEEP("delete from warehouse.compiled_nodes", "not everything has been built yet"),
    ],
)
def test_dbt_runs_where_something_must_be_compiled_and_the_build_says_so(
    built: psycopg.Connection, tmp_path: Path, damage: str, why: str
) -> None:
    land(tmp_path, SECOND_BATCH)
    built.execute(damage)
    assert (build_at(AS_OF).why_dbt or "").startswith(why)
    assert_right(built, FIRST + SECOND_BATCH)
    assert not build_at(AS_OF).ran_dbt


def test_what_the_project_no_longer_has_is_forgotten(built: psycopg.Connection) -> None:
    built.execute(
        "insert into warehouse.stored_models "
        'select (jsonb_populate_record(m, \'{"model": "int_gone"}\')).* '
        "from warehouse.stored_models as m where m.model = 'int_platform_stats'"
    )
    build_at(AS_OF, with_dbt=True)
    assert set(MODELS) == {
        model for (model,) in rows(built, "select model from warehouse.stored_models")
    }


@pytest.mark.deep
def test_an_interrupted_build_ends_at_once_with_all_that_it_ran(
    built: psycopg.Connection, tmp_path: Path, interruptible: None
) -> None:
    land(tmp_path, SECOND_BATCH)
    with blocked_at("int_platform_activity_daily", "rows"):
        process = start_build("--as-of", AS_OF.isoformat())
        until(lambda: waiting_for_a_lock(built) or process.poll() is not None, what="it waits")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE)
        assert "Interrupted" in said
        assert backends_of_builds(built) == 0
    build_at(AS_OF)
    assert_right(built, FIRST + SECOND_BATCH)


@pytest.mark.deep
def test_a_build_that_lost_its_lock_runs_no_further_model(
    built: psycopg.Connection, tmp_path: Path
) -> None:
    land(tmp_path, SECOND_BATCH)
    before = offsets(built)
    with blocked_at("int_platform_activity_daily", "rows"):
        process = start_build("--as-of", AS_OF.isoformat())
        until(lambda: waiting_for_a_lock(built) or process.poll() is not None, what="it waits")
        built.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where application_name = 'warehouse build' and datname = current_database() and pid = "
            "(select pid from pg_locks where relation = 'warehouse.lock_build'::regclass)"
        )
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1, said
    assert offsets(built)["int_platform_stats"] == before["int_platform_stats"]
    build_at(AS_OF)
    assert_right(built, FIRST + SECOND_BATCH)


def test_a_reader_never_sees_none_or_two_rows_while_the_export_runs_again_and_again(
    built: psycopg.Connection,
) -> None:
    run_checks(suites=["platform_stats"])
    export_row()
    seen: list[int] = []
    done = threading.Event()

    def read() -> None:
        with database.connect(autocommit=True) as reader:
            while not done.is_set():
                (count,) = reader.execute(
                    "select count(*) from export.analytics_platform_stats"
                ).fetchone()
                seen.append(count)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        for _ in range(50):
            export_row()
    finally:
        done.set()
        thread.join()
    assert len(seen) > 50
    assert set(seen) == {1}


def test_exports_at_once_wait_for_each_other_and_leave_one_row(built: psycopg.Connection) -> None:
    run_checks(suites=["platform_stats"])
    failures: list[BaseException] = []

    def export_often() -> None:
        try:
            for _ in range(10):
                export_row()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=export_often) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(exported(built)) == 1
