"""The content of notifications, and that they reach the webhook."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import psycopg
import pytest

from orchestration.definitions.run_failures import failures, recoveries
from orchestration.operations import webhooks
from orchestration.operations.notifications import (
    RunEvent,
    note_checks,
    note_digest,
    note_events,
    note_quarantined_file,
    send_pending,
)
from orchestration.operations.webhooks import Message, Severity, Subject
from tests.support.lines import rows, value
from tests.support.webhook import free_port, webhook
from warehouse.settings import SettingError, settings

broken: set[str] = set()
ONCE = Message(Severity.ERROR, "once", [Subject("job a job")], "http://localhost/")


def _asset(name: str) -> dg.AssetsDefinition:
    @dg.asset(name=name)
    def one() -> None:
        if name in broken:
            raise dg.Failure("planted")

    return one


ASSETS = [_asset(name) for name in ("apples", "pears", "plums")]
FRUIT = dg.Definitions(assets=ASSETS, jobs=[dg.define_asset_job("apple_job", selection=["apples"])])


class Dagster:
    """Runs of some assets, and the sensors that look at them."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance
        self._cursors: dict[str, str | None] = {}
        self.tick()

    def run(self, *assets: str, job: str | None = None) -> None:
        """Run a job, or assets as the UI does."""
        if job:
            FRUIT.resolve_job_def(job).execute_in_process(
                instance=self._instance, raise_on_error=False
            )
            return
        FRUIT.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self._instance,
            asset_selection=[dg.AssetKey(name) for name in assets],
            raise_on_error=False,
        )

    def tick(self) -> list[str]:
        """Let the sensors look; return their errors."""
        errors = []
        for sensor in (failures, recoveries):
            context = dg.build_sensor_context(
                instance=self._instance,
                cursor=self._cursors.get(sensor.name),
                repository_def=FRUIT.get_repository_def(),
            )
            ticked = sensor.evaluate_tick(context)
            self._cursors[sensor.name] = context.cursor
            errors += [one.error.message for one in ticked.dagster_run_reactions if one.error]
        return errors


@pytest.fixture
def dagster() -> Iterator[Dagster]:
    broken.clear()
    with dg.DagsterInstance.ephemeral() as instance:
        yield Dagster(instance)


@pytest.fixture
def port(warehouse: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> int:
    """The port of the webhook in the settings; no server listens there yet."""
    port = free_port()
    monkeypatch.setenv("WAREHOUSE_ALERT_WEBHOOK", f"http://127.0.0.1:{port}/hook")
    monkeypatch.setattr(webhooks, "BACKOFF_SECONDS", 0)
    settings.cache_clear()
    return port


@pytest.fixture
def posted(port: int) -> Iterator[list[str]]:
    """The texts that the webhook received."""
    with webhook(port) as (_, posted):
        yield posted


def kept(connection: psycopg.Connection) -> list[tuple[Any, ...]]:
    return rows(connection, "select event, job from warehouse.run_events order by occurred_at")


def test_what_a_webhook_that_is_down_does_not_accept_is_posted_when_it_is_up(
    warehouse: psycopg.Connection, port: int, dagster: Dagster
) -> None:
    broken.add("apples")
    for _ in range(2):
        dagster.run(job="apple_job")
        assert any("did not accept a message" in error for error in dagster.tick())
    assert kept(warehouse) == [("run_failed", "apple_job")] * 2
    with webhook(port) as (_, posted):
        # Any run will do.
        dagster.run("pears")
        assert dagster.tick() == []
        assert len(posted) == 1
        assert posted[0].startswith(":red_circle: apple_job has been failing since ")
        assert "planted" in posted[0]
        # Notified within the hour already.
        dagster.run(job="apple_job")
        broken.clear()
        dagster.run(job="apple_job")
        assert dagster.tick() == []
        assert len(posted) == 2
        assert "apple_job works again: it had failed since " in posted[1]
        assert dagster.tick() == []
        assert len(posted) == 2


def test_a_failure_is_notified_without_the_database(
    warehouse: psycopg.Connection,
    posted: list[str],
    dagster: Dagster,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("WAREHOUSE_DATABASE_URL", "postgresql://me@127.0.0.1:9/gone")
        settings.cache_clear()
        broken.add("apples")
        for _ in range(2):
            dagster.run(job="apple_job")
            assert any("127.0.0.1:9/gone can't be used" in error for error in dagster.tick())
    settings.cache_clear()
    assert len(posted) == 1
    assert kept(warehouse) == []


def test_runs_of_other_assets_are_outages_of_their_own(
    warehouse: psycopg.Connection, posted: list[str], dagster: Dagster
) -> None:
    broken.update(["apples", "pears"])
    for assets in (["apples"], ["pears"], ["apples"], ["plums"]):
        dagster.run(*assets)
        assert dagster.tick() == []
    assert [one.partition(" has been failing")[0] for one in posted] == [
        ":red_circle: a run of apples",
        ":red_circle: a run of pears",
    ]
    broken.clear()
    dagster.run("apples")
    assert dagster.tick() == []
    assert "a run of apples works again" in posted[2]
    assert ("run_recovered", "a run of apples") in kept(warehouse)


def test_each_monitoring_check_is_notified_by_itself_and_all_in_one_post(
    warehouse: psycopg.Connection, posted: list[str]
) -> None:
    volume = "landed_volume_is_as_usual"

    def watch(run: str, **found: Sequence[str]) -> list[str]:
        before = len(posted)
        note_checks(run, {"is_fresh of export": (), volume: (), **found})
        send_pending()
        return posted[before:]

    assert watch("1") == []
    assert watch("2", **{volume: ["Found: 3"]})[0].splitlines()[1].endswith("UTC: Found: 3")
    # A check that fails all day does not hide the next one.
    stale = {"is_fresh of export": ["analytics_platform_stats (age 0:31:00, limit 0:30:00)"]}
    (text,) = watch("3", **{volume: ["Found: 3"]}, **stale)
    assert volume not in text
    assert text.splitlines()[1].startswith("is_fresh of export, since ")
    assert "analytics_platform_stats (age 0:31:00, limit 0:30:00)" in text
    assert watch("4", **{volume: ["Found: 3"]}, **stale) == []
    (text,) = watch("5", **{volume: ["Found: 3"]})
    assert text.splitlines()[1].startswith("is_fresh of export, failed since ")
    # An hour later the check that still fails is notified again.
    warehouse.execute("update warehouse.run_events set occurred_at = occurred_at - interval '1 h'")
    (text,) = watch("6", **{volume: ["Found: 3"]}, **stale)
    assert [line.partition(",")[0] for line in text.splitlines()[1:-1]] == [
        "is_fresh of export",
        volume,
    ]
    watch("7")
    assert watch("8") == []


def test_the_name_of_a_file_mentions_nobody(
    warehouse: psycopg.Connection, posted: list[str]
) -> None:
    note_quarantined_file("a run", "events/<!channel> & co\n.gz", "no gzip")
    send_pending()
    assert len(posted) == 1
    assert "events/&lt;!channel&gt; &amp; co .gz can't be loaded" in posted[0]
    assert kept(warehouse) == [("file_quarantined", "events/<!channel> & co\n.gz")]


def test_an_event_that_is_recorded_twice_is_notified_once(
    warehouse: psycopg.Connection, posted: list[str]
) -> None:
    for _ in range(2):
        note_events(warehouse, [RunEvent("a run", "run_failed", "a job", "why")], ONCE)
    send_pending()
    assert posted == [":red_circle: once\nhttp://localhost/"]


def test_nothing_is_pending_where_no_webhook_is_set(warehouse: psycopg.Connection) -> None:
    note_events(warehouse, [RunEvent("a run", "run_failed", "a job", "why")], ONCE)
    send_pending()
    assert kept(warehouse) == [("run_failed", "a job")]
    assert value(warehouse, "select count(*) from warehouse.notifications") == 0


def test_each_kind_of_webhook_gets_its_own_format(
    warehouse: psycopg.Connection, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    got: dict[str, list[Any]] = {}
    for kind in ("discord", "plain", "pagerduty"):
        monkeypatch.setenv("WAREHOUSE_ALERT_FORMAT", kind)
        monkeypatch.setenv("WAREHOUSE_ALERT_ROUTING_KEY", "of a service")
        settings.cache_clear()
        with webhook(port, member=None) as (_, posted):
            note_checks(f"{kind} 1", {"a": ["<!everyone> 1"], "b": ["2"]})
            note_checks(f"{kind} 2", {"a": [], "b": []})
            send_pending()
            got[kind] = posted
    failed, recovered = got["discord"]
    assert failed["content"].splitlines()[0] == "\N{LARGE RED CIRCLE} Checks failed:"
    assert "<!everyone> 1" in failed["content"]
    # It mentions nobody, whatever is in the text.
    assert failed["allowed_mentions"] == {"parse": []}
    assert recovered["content"].startswith("\N{LARGE GREEN CIRCLE} ")

    failed, recovered = got["plain"]
    assert (failed["severity"], recovered["severity"]) == ("error", "recovered")
    assert [one["key"] for one in failed["subjects"]] == ["check a", "check b"]
    assert all(datetime.fromisoformat(one["since"]) for one in failed["subjects"])
    assert failed["link"].endswith("/runs/plain 1")

    # An incident each, which the same key resolves.
    assert [(one["event_action"], one["dedup_key"]) for one in got["pagerduty"]] == [
        ("trigger", "warehouse check a"),
        ("trigger", "warehouse check b"),
        ("resolve", "warehouse check a"),
        ("resolve", "warehouse check b"),
    ]
    assert {one["routing_key"] for one in got["pagerduty"]} == {"of a service"}
    assert got["pagerduty"][0]["payload"]["severity"] == "error"


def test_a_digest_a_day_says_what_is_open(warehouse: psycopg.Connection, posted: list[str]) -> None:
    morning = datetime.now(UTC).replace(hour=8, minute=3)

    def digests(now: datetime) -> list[str]:
        posted.clear()
        note_digest(now)
        send_pending()
        return [text for text in posted if text.startswith(":clipboard:")]

    assert digests(morning) == []
    note_checks("1", {"a": ["1"], "b": ["2"]})
    note_checks("2", {"b": []})
    assert digests(morning - timedelta(hours=1)) == []
    (text,) = digests(morning)
    assert [line.partition(",")[0] for line in text.splitlines()[1:-1]] == ["check a"]
    assert digests(morning) == []
    assert len(digests(morning + timedelta(days=1))) == 1


def test_pagerduty_needs_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAREHOUSE_ALERT_FORMAT", "pagerduty")
    settings.cache_clear()
    with pytest.raises(SettingError, match="ALERT_FORMAT can't be used: it needs the key"):
        settings()
