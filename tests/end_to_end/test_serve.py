"""Dagster as it runs for good: its UI in a real browser, its daemon, and how all of it ends.

One warehouse and one Dagster for all tests of this file, which tell one story in their order. With
WAREHOUSE_SCREENSHOTS, a folder, the browser leaves pictures there, as `make screenshots` does.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import psycopg
import pytest
import requests
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    ScheduleInstigatorData,
)
from playwright.sync_api import Page, expect

from tests.conftest import WAREHOUSE, Server
from tests.support.browser import a_browser
from tests.support.processes import open_to_others, until
from tests.support.webhook import free_port, webhook
from warehouse import private_files
from warehouse.settings import settings

pytestmark = pytest.mark.deep

MINUTES = 60
LOCATION = "orchestration.definitions.code_location"


@dataclass
class Served:
    """A running Dagster: its address, its process, its database, and what it posted."""

    url: str
    home: Path
    process: subprocess.Popen[bytes]
    warehouse: psycopg.Connection
    posted: list[str]

    def posted_about_runs(self) -> list[str]:
        """Return what was posted about runs; the checks of random cells may find spoilt rows."""
        return [text for text in self.posted if "Checks " not in text]

    def query(self, text: str, **variables: Any) -> dict[str, Any]:
        """Ask Dagster's GraphQL, as its UI does."""
        answer = requests.post(
            f"{self.url}/graphql", json={"query": text, "variables": variables}, timeout=60
        ).json()
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def launch(self, job: str) -> str:
        """Start a run of a job; return its id."""
        launched = self.query(
            "mutation ($params: ExecutionParams!) { launchRun(executionParams: $params) "
            "{ __typename ... on LaunchRunSuccess { run { runId } } } }",
            params={"selector": selector(pipelineName=job), "runConfigData": {}},
        )["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess"
        return launched["run"]["runId"]

    def runs(self, **of: str) -> list[tuple[str, str]]:
        """Return id and status of runs, the newest first."""
        found = self.query(
            "query ($filter: RunsFilter) { runsOrError(filter: $filter) "
            "{ ... on Runs { results { runId status } } } }",
            filter=of,
        )["runsOrError"]["results"]
        return [(run["runId"], run["status"]) for run in found]

    def status(self, run_id: str) -> str:
        """Return how a run stands."""
        return self.query(
            "query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }", id=run_id
        )["runOrError"]["status"]

    def ends(self, run_id: str, how: str = "SUCCESS") -> None:
        """Wait until a run has ended. Where it ends otherwise, tell why."""
        until(lambda: self.status(run_id) in {"SUCCESS", "FAILURE", "CANCELED"}, 5 * MINUTES)
        ended = self.status(run_id)
        log = (self.home / "log").read_text(errors="replace").splitlines()
        assert ended == how, "\n".join([ended, *failures_of(run_id), "The log ends:", *log[-40:]])

    def start_sensor(self, name: str) -> None:
        """Switch a sensor on."""
        self.query(
            "mutation ($sensor: SensorSelector!) { startSensor(sensorSelector: $sensor) "
            "{ __typename } }",
            sensor=selector(sensorName=name),
        )

    def drop(self, *lines: dict[str, Any]) -> None:
        """Put a file of events into the drop folder."""
        folder = self.home / "drop" / "events"
        private_files.make_folder(folder)
        name = f"{uuid.uuid4()}.ndjson"
        (folder / f".{name}").write_text("".join(json.dumps(line) + "\n" for line in lines))
        # It has stood still for long.
        os.utime(folder / f".{name}", (0, 0))
        (folder / f".{name}").rename(folder / name)

    def row(self) -> list[tuple[object, ...]]:
        """Return the exported row, with the transaction that wrote it."""
        return self.warehouse.execute(
            "select xmin::text, * from export.analytics_platform_stats"
        ).fetchall()


def selector(**of: str) -> dict[str, str]:
    return {"repositoryLocationName": LOCATION, "repositoryName": "__repository__", **of}


def failures_of(run_id: str) -> list[str]:
    """Return what a run's failed steps, and the run itself, say of why they failed."""
    with dg.DagsterInstance.get() as instance:
        of_type = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
        events = [entry.dagster_event for entry in instance.all_logs(run_id, of_type=of_type)]
    return [
        f"{event.step_key or 'run'}: {getattr(event.event_specific_data, 'error', event.message)}"
        for event in events
    ]


def data_docs_of(run_id: str) -> str:
    """Return what the results of a run's first check of what landed link to."""
    of_type = dg.DagsterEventType.ASSET_CHECK_EVALUATION
    with dg.DagsterInstance.get() as instance:
        found = [entry.dagster_event for entry in instance.all_logs(run_id, of_type=of_type)]
    metadata = [event.event_specific_data.metadata for event in found]
    return next(one["data_docs"].value for one in metadata if "data_docs" in one)


def chat(at: str, user: str = "u1") -> dict[str, Any]:
    return {
        "event_id": str(uuid.uuid4()),
        "event": "chat",
        "timestamp": at,
        "actor": {"client_id": "acme", "user_id": user},
    }


@pytest.fixture(scope="module")
def served(servers: Callable[[int], Server]) -> Iterator[Served]:
    """Dagster on a fresh warehouse, its schedules and sensors still off."""
    server = servers(18)
    url, port, docs_port = server.new_database(), free_port(), free_port()
    home = Path(tempfile.mkdtemp(prefix="wh-"))
    with (
        server.environment(url),
        pytest.MonkeyPatch.context() as patch,
        webhook() as (address, posted),
        psycopg.connect(url, autocommit=True) as warehouse,
    ):
        patch.setenv("WAREHOUSE_HOME", str(home))
        patch.setenv("WAREHOUSE_ALERT_WEBHOOK", address)
        patch.setenv("WAREHOUSE_DAGSTER_URL", f"http://127.0.0.1:{port}")
        patch.setenv("WAREHOUSE_DOCS_URL", f"http://127.0.0.1:{docs_port}")
        patch.setenv("DAGSTER_HOME", str(home / "dagster"))
        # A code server that started without events would have the partition of today alone.
        patch.setenv("WAREHOUSE_PARTITIONS_START", "2026-01-01")
        settings.cache_clear()
        # It holds a file that is none of the warehouse's.
        (home / private_files.MARKER).touch()
        with (home / "log").open("wb") as log:
            process = subprocess.Popen(
                [
                    *WAREHOUSE,
                    "serve",
                    "--port",
                    str(port),
                    "--docs-port",
                    str(docs_port),
                    "--collector-port",
                    str(free_port()),
                ],
                stdout=log,
                stderr=log,
                umask=0,
            )
        one = Served(f"http://127.0.0.1:{port}", home, process, warehouse, posted)
        try:
            until(lambda: process.poll() is not None or answers(one), 3 * MINUTES)
            assert process.poll() is None, (home / "log").read_text()
            yield one
        finally:
            process.terminate()
            process.wait(timeout=2 * MINUTES)
            shutil.rmtree(home, ignore_errors=True)
    server.drop_database(url)


def answers(served: Served) -> bool:
    try:
        repositories = served.query("{ repositoriesOrError { __typename } }")
    except requests.ConnectionError:
        return False
    return repositories["repositoriesOrError"]["__typename"] == "RepositoryConnection"


@pytest.fixture(scope="module")
def page(served: Served) -> Iterator[Page]:
    """A page of a real browser."""
    with a_browser() as browser:
        one = browser.new_page(base_url=served.url, viewport={"width": 1600, "height": 1000})
        one.set_default_timeout(60_000)
        expect.set_options(timeout=60_000)
        yield one


def picture(page: Page, name: str) -> None:
    if folder := os.environ.get("WAREHOUSE_SCREENSHOTS"):
        page.wait_for_timeout(2000)
        expect(page.get_by_text("etching statuses")).to_have_count(0)
        page.screenshot(path=f"{folder}/{name}.png")


def test_a_dropped_file_lands_by_itself_and_a_run_takes_it_to_the_row(served: Served):
    for sensor in ("dropped_files", "failures", "recoveries"):
        served.start_sensor(sensor)
    served.drop(*(chat(f"2026-01-{day:02}T12:00:00Z") for day in range(5, 16)))
    until(lambda: (served.home / "drop/done/events").exists(), 2 * MINUTES)
    run_id = served.launch("everything")
    served.ends(run_id)
    assert served.row()[0][3] == 11
    of_models = settings().docs_link(settings().dbt_docs / "static_index.html")
    for link in (data_docs_of(run_id), of_models):
        assert requests.get(link, timeout=60).status_code == 200


def test_it_measures_its_machine_and_database_from_the_start(served: Served):
    measured = (
        "select count(distinct properties ->> 'metric_type') from staging.raw_events "
        "where event = 'system_metric' and client_id = '_platform' "
        "and properties ->> 'server_id' = %s "
        "and properties ->> 'metric_type' in ('cpu_usage', 'memory_usage', 'database_connections')"
    )
    until(
        lambda: served.warehouse.execute(measured, (socket.gethostname(),)).fetchone() == (3,),
        2 * MINUTES,
        "its metrics have landed",
    )


def test_the_ui_shows_the_lineage_and_what_each_mart_is(served: Served, page: Page):
    page.goto("/asset-groups")
    for group in ("staging", "intermediate", "clients", "ai_usage", "platform", "export"):
        expect(page.get_by_text(group, exact=True).first).to_be_visible()
    picture(page, "lineage")
    page.goto("/assets/marts/user_daily_usage")
    expect(page.get_by_text("One row per user and UTC day").first).to_be_visible()
    expect(page.get_by_text("median_response_time_ms").first).to_be_visible()
    picture(page, "mart")


def test_partitions_chosen_in_the_ui_are_recomputed_by_one_run(served: Served, page: Page):
    usage = "select date::text, message_count from marts.user_daily_usage order by date"
    offsets = "select model, batch_seq, as_of::text from warehouse.model_offsets order by model"
    stands = served.warehouse.execute(offsets).fetchall()
    served.warehouse.execute("update marts.user_daily_usage set message_count = 99")
    runs_before = len(served.runs())

    page.goto("/assets/marts/user_daily_usage?view=partitions")
    page.get_by_placeholder("ex: 2025-12-29").first.fill("[2026-01-07...2026-01-12]")
    page.keyboard.press("Enter")
    expect(page.get_by_text("6 Partitions Selected")).to_be_visible()
    picture(page, "partitions")
    page.get_by_role("button", name="Materialize").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("6 partitions").first).to_be_visible()
    picture(page, "backfill")
    dialog.get_by_role("button", name="Launch").click()

    until(lambda: len(served.runs()) > runs_before, 2 * MINUTES)
    run_id = served.runs()[0][0]
    served.ends(run_id)
    assert len(served.runs()) == runs_before + 1
    days = dict(served.warehouse.execute(usage).fetchall())
    assert [day[-2:] for day, count in days.items() if count == 1] == [
        "07", "08", "09", "10", "11", "12"
    ]  # fmt: skip
    assert served.warehouse.execute(offsets).fetchall() == stands
    page.goto(f"/runs/{run_id}")
    expect(page.get_by_text("Success").first).to_be_visible()
    picture(page, "run")
    served.warehouse.execute("update marts.user_daily_usage set message_count = 1")


def test_a_spoilt_mart_stops_the_ten_minute_run_of_the_daemon_and_the_row_stays(served: Served):
    before = served.row()
    served.warehouse.execute("update marts.platform_analytics set new_mrr_cents = 7")
    run_id = served.launch("everything")
    served.ends(run_id, "FAILURE")
    assert "assert_mrr_movements_add_up" in "".join(failures_of(run_id))
    assert served.row() == before
    with switched_on_ten_minutes_ago(served, "marketing_row_schedule"):
        until(lambda: served.runs(pipelineName="marketing_row"), 2 * MINUTES)
    (run_id, _) = served.runs(pipelineName="marketing_row")[0]
    served.ends(run_id, "FAILURE")
    assert served.row() == before

    until(lambda: len(served.posted_about_runs()) == 2, 2 * MINUTES)
    first, second = served.posted_about_runs()
    assert "everything has been failing since" in first
    assert "marketing_row has been failing since" in second
    assert "dbt.assert_mrr_movements_add_up" in second
    assert second.endswith(f"{served.url}/runs/{run_id}")


@contextmanager
def switched_on_ten_minutes_ago(served: Served, schedule: str) -> Iterator[None]:
    """Switch a schedule on so that the daemon finds a tick of its that is due; then off again.

    Left on, it would start runs of its own at the next full ten minutes.
    """
    served.query(
        "mutation ($schedule: ScheduleSelector!) { startSchedule(scheduleSelector: $schedule) "
        "{ __typename } }",
        schedule=selector(scheduleName=schedule),
    )
    with dg.DagsterInstance.get() as instance:
        state = state_of(instance, schedule)
        data = state.instigator_data
        earlier = ScheduleInstigatorData(data.cron_schedule, data.start_timestamp - 10 * MINUTES)
        instance.update_instigator_state(state.with_data(earlier))
        yield
        off = InstigatorStatus.STOPPED
        instance.update_instigator_state(state_of(instance, schedule).with_status(off))


def state_of(instance: dg.DagsterInstance, schedule: str) -> InstigatorState:
    (state,) = [state for state in instance.all_instigator_state() if state.name == schedule]
    return state


def test_the_ui_shows_the_failed_check_and_its_query(served: Served, page: Page):
    page.goto("/assets/marts/platform_analytics?view=checks")
    page.get_by_text("assert_mrr_movements_add_up").first.click()
    expect(page.get_by_text("Failed").first).to_be_visible()
    expect(page.get_by_text("dagster_dbt/failed_row_count").first).to_be_visible()
    picture(page, "failed-check")
    # The rows that fail, then the query.
    for place, shown in enumerate(("date 2026-01-05", "platform_analytics")):
        page.get_by_text("Show Markdown").nth(place).click()
        expect(page.get_by_role("dialog")).to_contain_text(shown)
        page.get_by_role("dialog").get_by_role("button", name="Close").click()
        expect(page.get_by_role("dialog")).to_have_count(0)


def test_what_works_again_is_notified_too(served: Served):
    served.warehouse.execute("update marts.platform_analytics set new_mrr_cents = 0")
    served.ends(served.launch("everything"))
    served.ends(served.launch("marketing_row"))
    until(lambda: len(served.posted_about_runs()) == 4, 2 * MINUTES)
    assert all(
        "works again: it had failed since" in text for text in served.posted_about_runs()[2:]
    )
    query = (
        "select string_agg(event || ' ' || (detail ->> 'job'), ', ' order by event, "
        "detail ->> 'job') from marts.warehouse_events where event like 'run%'"
    )
    right = (
        "run_failed everything, run_failed marketing_row, "
        "run_recovered everything, run_recovered marketing_row"
    )
    until(lambda: served.warehouse.execute(query).fetchone() == (right,), MINUTES)


def test_a_killed_run_is_resumed_where_it_was(served: Served):
    served.drop(chat("2026-01-20T12:00:00Z"))
    until(lambda: len(list((served.home / "drop/done/events").iterdir())) == 2, 2 * MINUTES)
    with held_build(served) as waits:
        run_id = served.launch("everything")
        until(waits, 2 * MINUTES)
        os.kill(worker_of(run_id), signal.SIGKILL)
    served.ends(run_id, "FAILURE")
    until(lambda: served.runs(pipelineName="everything")[0][0] != run_id, 2 * MINUTES)
    served.ends(served.runs(pipelineName="everything")[0][0])
    assert served.row()[0][3] == 12


@contextmanager
def held_build(served: Served) -> Iterator[Callable[[], bool]]:
    """Keep builds waiting; give a function that returns whether one does."""
    served.warehouse.execute("begin; lock table warehouse.lock_build in exclusive mode")

    def waits() -> bool:
        found = served.warehouse.execute(
            "select exists (select from pg_locks where not granted "
            "and relation = 'warehouse.lock_build'::regclass and database = "
            "(select oid from pg_database where datname = current_database()))"
        ).fetchone()
        return bool(found and found[0])

    try:
        yield waits
    finally:
        served.warehouse.execute("rollback")


def worker_of(run_id: str) -> int:
    """Return the process that works on a run."""
    with dg.DagsterInstance.get() as instance:
        pids = [
            int(entry.user_message.rpartition("pid: ")[2].rstrip(")."))
            for entry in instance.all_logs(run_id)
            if "Executing steps in process (pid: " in entry.user_message
        ]
    return pids[0]


def test_parts_that_are_killed_run_again_and_runs_still_start(served: Served):
    def parts() -> dict[str, int | None]:
        found = json.loads((served.home / "dagster" / "serve.json").read_text())
        return {one["name"]: one["pid"] for one in found["parts"]}

    before = parts()
    killed = {"collector", "code server", "daemon", "docs server"}
    for name in killed:
        os.kill(before[name], signal.SIGKILL)
    until(lambda: {n for n, pid in parts().items() if pid and pid != before[n]} == killed, MINUTES)
    assert parts()["web server"] == before["web server"]
    until(lambda: launches(served, "watch"), 3 * MINUTES)


def launches(served: Served, job: str) -> bool:
    """Whether a run starts and ends well; the web server finds the new code server in a while."""
    try:
        served.ends(served.launch(job))
    except (AssertionError, requests.RequestException):
        return False
    return True


def test_sigterm_in_the_middle_of_a_run_ends_every_process(served: Served):
    with held_build(served) as waits:
        run_id = served.launch("everything")
        until(waits, 2 * MINUTES)
        # Another build waits in the queue, where it is in nobody's way.
        queued = served.launch("traffic")
        served.ends(served.launch("watch"))
        assert served.status(queued) == "QUEUED"
        # Code server, web server, daemon, the run, and what these have started.
        started = psutil.Process(served.process.pid).children(recursive=True)
        assert len(started) > 3
        served.process.terminate()
        assert served.process.wait(timeout=2 * MINUTES) == 0
    _, alive = psutil.wait_procs(started, timeout=MINUTES)
    assert alive == []
    (served.home / "log").chmod(0o600)
    assert open_to_others(served.home) == []
    with dg.DagsterInstance.get() as instance:
        assert instance.get_run_by_id(run_id).status == dg.DagsterRunStatus.FAILURE
    left = "select count(*) from pg_stat_activity where application_name = 'warehouse dagster'"
    until(lambda: served.warehouse.execute(left).fetchone() == (0,))
