"""The marts of operations and of the business: what a build touches, what real calls come to."""

from __future__ import annotations

import csv
import json
import random
import subprocess
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from ingestion.load.entities import EntityKind
from ingestion.load.loader import load
from ingestion.sources.files import open_source
from ingestion.sources.mapping import find_mapping
from orchestration.operations.build import BuildError, build
from orchestration.operations.verify import verify
from tests.conftest import WAREHOUSE, Server
from tests.support.building import (
    build_at,
    land,
    land_entities,
    made_once,
    start_afresh,
    touched,
    warm_warehouse,
)
from warehouse.settings import PROJECT_DIR

DATA = PROJECT_DIR.parent / "shared" / "data"
AS_OF = datetime(2026, 2, 3, tzinfo=UTC)
CELLS = {
    "api_performance_hourly": "endpoint || ' ' || to_char(hour at time zone 'utc', 'MM-DD HH24')",
    "api_performance_daily": "endpoint || ' ' || to_char(date, 'MM-DD')",
    "api_errors": "event_id::text",
    "system_metrics_hourly": "server_id || ' ' || to_char(hour at time zone 'utc', 'MM-DD HH24')",
    "revenue_events": "event_id::text",
    "revenue_daily": "to_char(date, 'MM-DD') || ' ' || plan_type",
    "credit_usage_daily": "user_id || ' ' || feature_name || ' ' || to_char(date, 'MM-DD')",
    "builder_usage_daily": "client_id || ' ' || to_char(date, 'MM-DD') || ' ' || action",
    "dashboard_usage_daily": "to_char(date, 'MM-DD') || ' ' || view",
    "business_metrics": "to_char(period_start, 'MM-DD')",
    "unit_economics_monthly": "client_id || ' ' || month",
    "ingest_loss_daily": "producer || ' ' || to_char(date, 'MM-DD')",
}
WINDOWS = ["int_window_users_daily", "business_metrics"]
NOTHING: dict[str, set[str]] = {mart: set() for mart in CELLS}

Event = dict[str, Any]


@pytest.fixture(scope="module")
def warm(servers: Callable[[int], Server]) -> Iterator[psycopg.Connection]:
    with warm_warehouse(servers(18), only=["platform", "operations"]) as connection:
        yield connection


def event(kind: str, at: str, user: str | None = None, **properties: Any) -> Event:
    actor = {"client_id": "acme"} | ({"user_id": user} if user else {})
    return {
        "event_id": str(uuid.uuid4()),
        "event": kind,
        "timestamp": f"2026-{at}:00Z",
        "actor": actor,
        "properties": properties,
    }


def call(at: str, endpoint: str = "/a", status: int = 200, **properties: Any) -> Event:
    return event(
        "api_request", at, endpoint=endpoint, method="GET", status_code=status,
        response_time_ms=5, **properties,
    )  # fmt: skip


def reading(at: str, server: str = "web") -> Event:
    return event("system_metric", at, metric_type="cpu", metric_value=1, server_id=server)


def payment(at: str, user: str, type_: str = "purchase", plan: str = "pro") -> Event:
    return event("revenue", at, user, type=type_, amount_usd=20, plan_type=plan)


def credit(at: str, user: str, feature: str = "search") -> Event:
    return event("credit_used", at, user, feature_name=feature, credits_used=1, cost_usd=0.01)


def action(at: str, what: str = "save") -> Event:
    return event("builder_action", at, action=what)


def view(at: str, what: str = "sales") -> Event:
    return event("analytics.dashboard_view", at, view=what)


def subscription(at: str, kind: str = "started", **properties: Any) -> Event:
    return event(f"subscription_{kind}", at, subscription_id="s", **properties)


def tenant(created_at: str, updated_at: str = "2026-01-01") -> Event:
    return {
        "client_id": "acme",
        "created_at": f"{created_at}T00:00:00Z",
        "updated_at": f"{updated_at}T00:00:00Z",
    }


@pytest.fixture
def january(warm: psycopg.Connection, tmp_path: Path) -> dict[str, Event]:
    """A client since the 5th of January, what its users did, and how servers stood; built."""
    return made_once(warm, "january", lambda: build_january(tmp_path))


def build_january(directory: Path) -> dict[str, Event]:
    events = {
        "subscribed": subscription("01-06T00:00", plan="pro", mrr_cents=100),
        "paid": payment("01-10T09:00", "ann"),
        "credit": credit("01-10T10:00", "ann"),
    }
    others = [
        *(call(at, endpoint) for at in ("01-10T09:00", "01-10T10:00") for endpoint in ("/a", "/b")),
        call("01-11T09:00"),
        *(reading(at) for at in ("01-10T09:00", "01-10T10:00")),
        *(action("01-10T09:00", what) for what in ("save", "publish")),
        *(view("01-10T09:00", what) for what in ("sales", "stock")),
        payment("01-10T09:00", "ann", plan="basic"),
        credit("01-10T10:00", "ann", "export"),
    ]
    land(directory, [*events.values(), *others])
    land_entities(directory, EntityKind.CLIENTS, [tenant("2026-01-05")])
    build_at(AS_OF)
    return events


def days(first: int, last: int) -> set[str]:
    """The days from one of January to another, the 31st being followed by the 32nd and so on."""
    return {f"01-{day:02}" if day <= 31 else f"02-{day - 31:02}" for day in range(first, last + 1)}


def test_a_late_call_touches_its_endpoints_hour_and_day(warm, january, tmp_path):
    failed = call("01-10T09:30", status=500)
    land(tmp_path, [failed])
    assert touched(warm, CELLS, lambda: build_at(AS_OF)) == NOTHING | {
        "api_performance_hourly": {"/a 01-10 09"},
        "api_performance_daily": {"/a 01-10"},
        "api_errors": {failed["event_id"]},
    }
    hours = warm.execute(
        "select total_calls, error_calls from marts.api_performance_hourly "
        "where endpoint = '/a' order by hour"
    ).fetchall()
    assert hours == [(2, 1), (1, 0), (1, 0)]


@pytest.mark.deep
def test_late_readings_actions_and_views_touch_their_own_cells(warm, january, tmp_path):
    land(tmp_path, [reading("01-10T10:59"), action("01-10T23:00"), view("01-10T00:00")])
    assert touched(warm, CELLS, lambda: build_at(AS_OF)) == NOTHING | {
        "system_metrics_hourly": {"web 01-10 10"},
        "builder_usage_daily": {"acme 01-10 save"},
        "dashboard_usage_daily": {"01-10 sales"},
    }


def test_a_late_day_of_a_user_moves_where_their_next_days_count_from(warm, january, tmp_path):
    counted = (
        "select to_char(date, 'MM-DD'), to_char(counts_from, 'MM-DD'), users, converted_users "
        "from intermediate.int_window_users_daily where date in ('2026-01-20', '2026-01-25')"
    )
    before = set(warm.execute(counted))
    for late in (
        [event("session", "01-20T09:00", "dan"), payment("01-25T09:00", "dan")],
        [event("session", "01-12T09:00", "dan")],
        [payment("01-15T09:00", "dan")],
    ):
        land(tmp_path, late)
        build_at(AS_OF)
        after = set(warm.execute(counted))
        assert after != before
        assert not any(one.differing_rows for one in verify(WINDOWS, 1_000, seed=1))
        before = after


@pytest.mark.deep
def test_a_call_ahead_of_as_of_touches_its_hour_once_as_of_has_passed_it(warm, january, tmp_path):
    land(tmp_path, [call("02-03T09:30")])
    assert touched(warm, CELLS, lambda: build_at(AS_OF)) == NOTHING
    cells = touched(warm, CELLS, lambda: build_at(datetime(2026, 2, 3, 10, tzinfo=UTC)))
    assert cells == NOTHING | {
        "api_performance_hourly": {"/a 02-03 09"},
        "api_performance_daily": {"/a 02-03"},
    }


def test_a_users_new_day_touches_the_rates_of_thirty_days(warm, january, tmp_path):
    paid = payment("01-02T09:00", "bob", "upgrade")
    land(tmp_path, [paid])
    assert touched(warm, CELLS, lambda: build_at(AS_OF)) == NOTHING | {
        "revenue_events": {paid["event_id"]},
        "revenue_daily": {"01-02 pro"},
        # With the client's first event the span begins earlier, on the 2nd.
        "business_metrics": days(2, 31),
    }
    rates = dict(
        warm.execute(
            "select to_char(period_start, 'MM-DD'), metric_value::text "
            "from marts.business_metrics where metric_name = 'conversion_rate'"
        ).fetchall()
    )
    assert (rates["01-02"], rates["01-31"], rates["02-01"]) == ("0.00", "50.00", "100.00")


@pytest.mark.deep
def test_what_a_user_does_on_a_known_day_touches_no_other_day(warm, january, tmp_path):
    refund = payment("01-10T11:00", "ann", "refund")
    land(tmp_path, [refund, credit("01-10T12:00", "ann")])
    assert touched(warm, CELLS, lambda: build_at(AS_OF)) == NOTHING | {
        "revenue_events": {refund["event_id"]},
        "revenue_daily": {"01-10 pro"},
        "credit_usage_daily": {"ann search 01-10"},
        "business_metrics": {"01-10"},
        "unit_economics_monthly": {"acme 2026-01"},
    }


@pytest.mark.deep
def test_a_chat_touches_what_its_client_costs_in_the_month(warm, january, tmp_path):
    land(tmp_path, [event("chat", "02-01T09:00", cost_prompt=0.25, cost_cached=0.5)])
    assert touched(warm, CELLS, lambda: build_at(AS_OF)) == NOTHING | {
        "unit_economics_monthly": {"acme 2026-02"}
    }
    rows = warm.execute(
        "select month, mrr_cents, ai_cost_usd::float, credits_cost_usd::float, margin_cents "
        "from marts.unit_economics_monthly order by month"
    ).fetchall()
    assert rows == [("2026-01", 100, 0, 0.02, 98), ("2026-02", 100, 0.75, 0, 25)]


@pytest.mark.deep
def test_a_subscription_touches_its_month_and_day_and_all_later_ones(warm, january, tmp_path):
    land(tmp_path, [subscription("01-30T00:00", "changed", plan="pro", mrr_cents=300)])
    assert touched(warm, CELLS, lambda: build_at(AS_OF)) == NOTHING | {
        "business_metrics": days(30, 34),
        "unit_economics_monthly": {"acme 2026-01", "acme 2026-02"},
    }


@pytest.mark.deep
def test_a_new_day_adds_its_metrics_and_a_new_month_its_economics(warm, january):
    assert touched(
        warm, CELLS, lambda: build_at(datetime(2026, 2, 4, 1, tzinfo=UTC))
    ) == NOTHING | {"business_metrics": {"02-04"}}
    cells = touched(warm, CELLS, lambda: build_at(datetime(2026, 3, 1, tzinfo=UTC)))
    # February has ended.
    assert cells["unit_economics_monthly"] == {"acme 2026-02", "acme 2026-03"}
    assert cells["business_metrics"] == {f"02-{day:02}" for day in range(5, 29)} | {"03-01"}


@pytest.mark.deep
def test_a_client_that_is_older_than_was_known_brings_its_days_and_months(warm, january, tmp_path):
    land_entities(tmp_path, EntityKind.CLIENTS, [tenant("2025-12-30", "2026-02-01")])
    assert touched(warm, CELLS, lambda: build_at(AS_OF)) == NOTHING | {
        "business_metrics": days(1, 4) | {"12-30", "12-31"},
        "unit_economics_monthly": {"acme 2025-12"},
    }


def numbered(at: str, number: int, producer: str = "web") -> Event:
    return action(at) | {"context": {"producer": producer, "sequence": number}}


def losses(connection: psycopg.Connection) -> list[tuple[Any, ...]]:
    return connection.execute(
        "select to_char(date, 'MM-DD'), events_seen, gaps, loss_percent "
        "from marts.ingest_loss_daily where producer = 'web' order by date"
    ).fetchall()


def test_a_number_touches_its_day_and_that_of_the_next_greater_one(warm, tmp_path):
    start_afresh(warm)
    sent = [("01-10T09:00", 5), ("01-10T09:01", 6), ("01-12T09:00", 16), ("01-13T09:00", 17)]
    land(tmp_path, [numbered(*one) for one in sent])
    land(tmp_path, [numbered("01-12T09:00", 3, "app")])
    build_at(AS_OF)
    assert losses(warm) == [
        ("01-10", 2, 0, Decimal("0.00")),
        # 7 to 15 are missing: 9 of 10.
        ("01-12", 1, 9, Decimal("90.00")),
        ("01-13", 1, 0, Decimal("0.00")),
    ]
    # One of the missing was only late.
    land(tmp_path, [numbered("01-11T09:00", 8)])
    cells = touched(warm, CELLS, lambda: build_at(AS_OF))
    assert cells["ingest_loss_daily"] == {"web 01-11", "web 01-12"}
    assert losses(warm)[1:3] == [
        ("01-11", 1, 1, Decimal("50.00")),
        ("01-12", 1, 7, Decimal("87.50")),
    ]


@pytest.mark.deep
def test_what_was_dropped_touches_the_day_that_reports_it(warm, tmp_path):
    start_afresh(warm)
    land(tmp_path, [numbered("01-12T09:00", 5, "web/1"), numbered("01-12T09:00", 7, "web/1")])
    build_at(AS_OF)
    # The number is known, but what comes with it is not.
    again = numbered("01-12T10:00", 7, "web/1")
    again["context"]["dropped"] = 1
    land(tmp_path, [again])
    cells = touched(warm, CELLS, lambda: build_at(AS_OF))
    assert cells["ingest_loss_daily"] == {"web 01-12"}
    assert warm.execute("select gaps, dropped from marts.ingest_loss_daily").fetchall() == [(1, 1)]


@pytest.mark.deep
def test_a_number_counts_on_its_first_day_and_a_duplicate_changes_nothing(warm, tmp_path):
    start_afresh(warm)
    twelfth = numbered("01-12T09:00", 5)
    land(tmp_path, [twelfth, numbered("01-13T09:00", 6)])
    build_at(AS_OF)
    land(tmp_path, [twelfth])
    cells = touched(warm, CELLS, lambda: build_at(AS_OF))
    assert cells["ingest_loss_daily"] == set()
    # Another line with the same number, refused, and of an earlier day.
    land(tmp_path, [numbered("01-11T09:00", 5) | {"event": "nothing_planned"}])
    cells = touched(warm, CELLS, lambda: build_at(AS_OF))
    assert cells["ingest_loss_daily"] == {"web 01-11", "web 01-12"}
    assert losses(warm) == [("01-11", 1, 0, Decimal(0)), ("01-13", 1, 0, Decimal(0))]


@pytest.mark.deep
def test_a_loss_of_more_than_one_percent_warns_and_holds_nothing_back(warm, tmp_path):
    start_afresh(warm)
    land(tmp_path, [numbered("02-02T09:00", 1), numbered("02-02T09:01", 3)])
    build_at(AS_OF)
    assert check(warm, "assert_event_loss_is_tolerable") == ("warn", False, 1)
    # A week later it is known.
    build_at(AS_OF + timedelta(days=7))
    assert check(warm, "assert_event_loss_is_tolerable") == ("warn", True, 0)


def test_what_is_missing_where_models_read_is_unexplained_and_blocks(warm, january, tmp_path):
    assert check(warm, "assert_every_event_is_accounted_for") == ("error", True, 0)
    land(tmp_path, [call("01-10T09:30"), call("01-10T09:31")])
    warm.execute("delete from staging.raw_events where \"timestamp\" = '2026-01-10T09:31Z'")
    with pytest.raises(BuildError, match="assert_every_event_is_accounted_for"):
        build_at(AS_OF)
    assert check(warm, "assert_every_event_is_accounted_for") == ("error", False, 1)
    found = warm.execute(
        "select sum(unexplained), sum(accepted) - sum(modelled) "
        "from marts.ingest_reconciliation_daily"
    ).fetchone()
    assert found == (1, 1)


def test_what_models_had_read_and_lack_now_is_found_by_verifying(warm, january):
    warm.execute(
        "delete from intermediate.int_events where ctid = "
        "(select ctid from intermediate.int_events limit 1)"
    )
    (found,) = verify(["int_event_batches"], 1_000, seed=1)
    assert list(found.differing_columns) == ["modelled"]


def check(connection: psycopg.Connection, name: str) -> tuple[str, bool, int]:
    """Return a check's severity and how it ended last: whether it passed, and rows that fail."""
    return connection.execute(
        "select severity, passed, failures from warehouse.check_results "
        "where check_name = %s order by checked_at desc limit 1",
        (f"dbt.{name}",),
    ).fetchone()


def outage(at: str, calls: int = 20, errors: int = 20) -> list[Event]:
    return [call(at, status=500 if number < errors else 200) for number in range(calls)]


def standing(connection: psycopg.Connection) -> list[tuple[Any, ...]]:
    return connection.execute(
        "select alert_id, severity, to_char(created_at at time zone 'utc', 'MM-DD HH24:MI'), "
        "to_char(resolved_at at time zone 'utc', 'MM-DD HH24:MI'), acknowledged_by, resolved_by "
        "from marts.alert_history order by created_at"
    ).fetchall()


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*WAREHOUSE, "alerts", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.deep
def test_what_was_done_by_hand_outlives_late_events_and_rebuilds(warm, tmp_path):
    start_afresh(warm)
    land(tmp_path, [*outage("01-10T10:00"), *outage("01-10T11:00", errors=2)])
    build_at(AS_OF)
    assert standing(warm) == [
        ("performance-20260110T1000Z", "critical", "01-10 10:00", "01-10 10:05", None, None),
        ("performance-20260110T1100Z", "medium", "01-10 11:00", "01-10 11:05", None, None),
    ]
    assert run("ack", "performance-20260110T1000Z", "--by", "ann").returncode == 0
    again = run("ack", "performance-20260110T1000Z", "--by", "bob")
    assert (again.returncode, "acknowledged by ann" in again.stderr) == (1, True)
    # The window before was bad as well: the alert begins there, and is the same.
    land(tmp_path, outage("01-10T09:55"))
    build_at(AS_OF)
    moved = ("performance-20260110T0955Z", "critical", "01-10 09:55", "01-10 10:05", "ann", None)
    assert standing(warm)[0] == moved
    build_at(AS_OF, full_refresh=True)
    assert standing(warm)[0] == moved


@pytest.mark.deep
def test_an_alert_is_resolved_by_hand_once(warm, tmp_path):
    start_afresh(warm)
    land(tmp_path, outage("02-02T23:55"))
    build_at(AS_OF)
    # The window after it is not complete.
    alert = "performance-20260202T2355Z"
    assert standing(warm) == [(alert, "critical", "02-02 23:55", None, None, None)]
    listed = json.loads(run("list", "--json").stdout)["alerts"]
    assert [(one["alert_id"], one["resolved"]) for one in listed] == [(alert, False)]
    assert "20 of 20 API calls failed" in run("list").stdout
    done = json.loads(run("resolve", alert, "--by", "ann", "--json").stdout)["alerts"][0]
    assert (done["resolved"], done["resolved_by"]) == (True, "ann")
    assert run("list").stdout == "No open alerts.\n"
    assert alert in run("list", "--all").stdout
    again = run("resolve", alert)
    assert (again.returncode, "resolved by ann" in again.stderr) == (1, True)
    unknown = run("ack", "performance-20260101T0000Z")
    assert (unknown.returncode, "There is no alert" in unknown.stderr) == (1, True)
    build_at(AS_OF + timedelta(minutes=5), full_refresh=True)
    # By then it was over by itself, before anybody said so.
    assert standing(warm) == [(alert, "critical", "02-02 23:55", "02-03 00:00", None, "ann")]


def test_a_user_who_comes_to_a_limit_has_two_alerts(warm, tmp_path):
    start_afresh(warm)
    user = {
        "user_id": "ann", "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z", "monthly_message_limit": 5,
    }  # fmt: skip
    land_entities(tmp_path, EntityKind.USERS, [user])
    land(tmp_path, [event("chat", f"01-10T09:0{number}", "ann") for number in range(5)])
    build_at(AS_OF)
    found = warm.execute(
        "select alert_type, severity, category, message, resolved_at from marts.alert_history "
        "order by created_at"
    ).fetchall()
    february = datetime(2026, 2, 1, tzinfo=UTC)
    assert found == [
        ("warning", "medium", "usage", "User ann came to 80 % of a limit of 2026-01.", february),
        ("error", "high", "usage", "User ann came to 100 % of a limit of 2026-01.", february),
    ]


def test_loads_and_builds_that_ended_are_recorded(warm, january):
    found = warm.execute(
        "select event, count(*) from marts.warehouse_events group by event order by event"
    ).fetchall()
    assert found == [("build_done", 1), ("load_done", 2)]
    received = warm.execute(
        "select sum((detail ->> 'received')::bigint) from marts.warehouse_events "
        "where detail ->> 'kind' = 'events'"
    ).fetchone()
    assert (
        received
        == warm.execute(
            "select sum(received) from staging.event_batches where kind = 'events'"
        ).fetchone()
    )


@pytest.mark.deep
def test_texts_that_no_index_could_hold_go_through_builds(warm, tmp_path):
    start_afresh(warm)
    chance = random.Random(7)
    # Nothing that could be compressed, and what a reader of escapes would stumble over.
    endpoint = "\\x" + "".join(chr(chance.randrange(0x4E00, 0x9FFF)) for _ in range(20_000)) + "\\"
    for at in ("01-10T09:00", "01-10T09:30"):
        land(tmp_path, [call(at, endpoint), call(at, endpoint[:-1]), view(at, endpoint)])
        by_method = call(at)
        by_method["properties"]["method"] = endpoint
        land(tmp_path, [by_method])
        build_at(AS_OF)
    for mart in ("api_performance_hourly", "api_performance_daily"):
        found = warm.execute(
            sql.SQL("select length(endpoint), total_calls from {} order by 1").format(
                sql.Identifier("marts", mart)
            )
        ).fetchall()
        assert found == [(2, 2), (20_002, 2), (20_003, 2)]
    views = warm.execute("select view, uses from marts.dashboard_usage_daily").fetchall()
    assert views == [(endpoint, 2)]


def test_the_longest_keys_that_are_taken_go_through_a_build(warm, tmp_path):
    start_afresh(warm)
    chance = random.Random(7)
    longest = "".join(chr(chance.randrange(0x1F300, 0x1F600)) for _ in range(512))
    kind = longest[:128]
    events = [
        payment("01-10T09:00", longest, plan=kind),
        credit("01-10T09:00", longest, kind),
        action("01-10T09:00", kind),
        reading("01-10T09:00", kind),
    ]
    events[3]["properties"]["metric_type"] = kind
    for one in events:
        one["actor"]["client_id"] = kind
    land(tmp_path, events)
    build_at(AS_OF)
    found = warm.execute("select user_id, feature_name from marts.credit_usage_daily").fetchall()
    assert found == [(longest, kind)]


@pytest.mark.real_data
@pytest.mark.skipif(not DATA.is_dir(), reason=f"the recorded data is not in {DATA}")
def test_real_uptime_checks_come_to_what_their_file_counts(warm):
    source = DATA / "upptime" / "upptime_checks.csv"
    start_afresh(warm)
    load(open_source(str(source), find_mapping("upptime")))
    build()
    with source.open() as file:
        checks = list(csv.DictReader(file))
    assert performance(warm, "api_performance_hourly", "hour") == counted(checks, digits=13)
    assert performance(warm, "api_performance_daily", "date") == counted(checks, digits=10)
    errors = warm.execute("select count(*) from marts.api_errors").fetchone()
    assert errors == (sum(_status(check) >= 400 for check in checks),)
    assert alerts(warm) == counted_alerts(checks)


def alerts(connection: psycopg.Connection) -> list[tuple[str, int]]:
    return connection.execute(
        "select to_char(created_at at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI'), "
        "array_position(array['critical', 'high', 'medium'], severity) "
        "from marts.alert_history order by created_at"
    ).fetchall()


def counted_alerts(checks: list[dict[str, str]]) -> list[tuple[str, int]]:
    """Count bad windows of five minutes, the file's checks alone; neighbours are one alert."""
    windows = defaultdict(list)
    for check in checks:
        at = datetime.fromisoformat(check["checked_at"])
        windows[at - timedelta(minutes=at.minute % 5, seconds=at.second)].append(check)
    found: list[tuple[str, int]] = []
    before = None
    for start in sorted(windows):
        share = Fraction(sum(_status(c) >= 400 for c in windows[start]), len(windows[start]))
        if len(windows[start]) < 20 or share <= Fraction(5, 100):
            continue
        rank = 1 if share > Fraction(1, 2) else 2 if share > Fraction(1, 5) else 3
        if found and before == start - timedelta(minutes=5):
            found[-1] = (found[-1][0], min(found[-1][1], rank))
        else:
            found.append((start.strftime("%Y-%m-%dT%H:%M"), rank))
        before = start
    return found


def performance(connection: psycopg.Connection, mart: str, period: str) -> set[tuple[Any, ...]]:
    rows = connection.execute(
        sql.SQL(
            "select endpoint, to_char({} at time zone 'utc', {}), total_calls, error_calls, "
            "avg_response_time_ms, p50_response_time_ms, p95_response_time_ms, "
            "p99_response_time_ms from {} where method = 'GET'"
        ).format(
            sql.Identifier(period),
            'YYYY-MM-DD"T"HH24' if period == "hour" else "YYYY-MM-DD",
            sql.Identifier("marts", mart),
        )
    ).fetchall()
    assert len(rows) == len(set(rows))
    return set(rows)


def counted(checks: list[dict[str, str]], digits: int) -> set[tuple[Any, ...]]:
    """Count the file's rows by endpoint and the first digits of their time."""
    cells = defaultdict(list)
    for check in checks:
        cells[check["endpoint"], check["checked_at"][:digits]].append(check)
    rows = set()
    for (endpoint, period), of_cell in cells.items():
        latencies = sorted(int(check["latency_ms"]) for check in of_cell)
        rows.add(
            (
                endpoint,
                period,
                len(of_cell),
                sum(_status(check) >= 400 for check in of_cell),
                _rounded(Fraction(sum(latencies), len(latencies))),
                *(_percentile(latencies, percent) for percent in (50, 95, 99)),
            )
        )
    return rows


def _status(check: dict[str, str]) -> int:
    """No answer has no status, and is an error all the same."""
    return int(check["status_code"]) or 599


def _percentile(ordered: list[int], percent: int) -> int:
    place, part = divmod(percent * (len(ordered) - 1), 100)
    above = ordered[min(place + 1, len(ordered) - 1)]
    return _rounded(ordered[place] + Fraction(part, 100) * (above - ordered[place]))


def _rounded(value: Fraction) -> int:
    return int(value + Fraction(1, 2))
