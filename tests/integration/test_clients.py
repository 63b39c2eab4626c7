"""The marts of clients and the platform: what a build touches, what it restates, how they stand."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from ingestion.load.entities import EntityKind
from orchestration.operations.build import BuildOptions, build
from tests.conftest import Server
from tests.support.building import (
    build_at,
    land,
    land_entities,
    made_once,
    rows_of_models,
    start_afresh,
    touched,
    warm_warehouse,
)
from tests.support.lines import value
from tests.support.processes import run

AS_OF = datetime(2026, 2, 3, tzinfo=UTC)
CELLS = {
    "analytics_daily": "client_id || ' ' || date",
    "analytics_weekly": "client_id || ' ' || week_start",
    "analytics_monthly": "client_id || ' ' || month",
    "funnel_events": "event_id::text",
    "lead_funnel": "client_id || ' ' || lead_id",
    "conversion_funnel": "client_id || ' ' || month",
    "lead_cohort_funnel": "client_id || ' ' || cohort_month",
    "lead_sources": "client_id || ' ' || month",
    "response_time_distribution": "client_id || ' ' || month",
    "client_cohorts": "client_id",
    "platform_analytics": "date::text",
    "plan_adoption_daily": "date::text",
}
NOTHING: dict[str, set[str]] = {mart: set() for mart in CELLS}

Event = dict[str, Any]


@pytest.fixture(scope="module")
def warm(servers: Callable[[int], Server]) -> Iterator[psycopg.Connection]:
    with warm_warehouse(servers(18), only=["clients", "platform", "trust"]) as connection:
        yield connection


def event(kind: str, at: str, lead: str | None = "l1", **properties: Any) -> Event:
    actor = {"client_id": "acme"} | ({"lead_id": lead} if lead else {})
    return {
        "event_id": str(uuid.uuid4()),
        "event": kind,
        "timestamp": f"{at}:00Z",
        "actor": actor,
        "properties": properties,
    }


def message(at: str, direction: str, lead: str = "l1") -> Event:
    sender = "lead" if direction == "inbound" else "human"
    return event("message", at, lead, direction=direction, sender_type=sender)


def client(client_id: str, created_at: str, **columns: Any) -> Event:
    times = {"created_at": f"{created_at}T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z"}
    return {"client_id": client_id} | times | columns


@pytest.fixture
def january(warm: psycopg.Connection, tmp_path: Path) -> dict[str, Event]:
    """A client since the 5th of January, two leads of January and what became of them; built."""
    return made_once(warm, "january", lambda: build_january(tmp_path))


def build_january(directory: Path) -> dict[str, Event]:
    events = {
        "l1 created": event("lead_created", "2026-01-10T09:00", "l1", source="referral"),
        "l1 asks": message("2026-01-10T10:00", "inbound"),
        "l1 answered": message("2026-01-12T10:00", "outbound"),
        "l1 hot": event("lead_stage_changed", "2026-01-20T09:00", "l1", stage="hot"),
        "l1 won": event("job_won", "2026-01-25T09:00", "l1", value_cents=5_000),
        "l2 created": event("lead_created", "2026-01-15T09:00", "l2"),
        "l2 asks": message("2026-01-15T10:00", "inbound", "l2"),
        "subscribed": event(
            "subscription_started", "2026-01-06T00:00", None,
            subscription_id="s", plan="pro", mrr_cents=100,
        ),
    }  # fmt: skip
    land(directory, events.values())
    land_entities(directory, EntityKind.CLIENTS, [client("acme", "2026-01-05")])
    build_at(AS_OF)
    return events


def acme(*periods: str) -> set[str]:
    return {f"acme {period}" for period in periods}


def test_a_late_answer_touches_the_day_of_the_question_and_its_own(warm, january, tmp_path):
    land(tmp_path, [message("2026-01-17T10:00", "outbound", "l2")])
    assert touched(warm, CELLS, lambda: build_at(AS_OF)) == NOTHING | {
        "analytics_daily": acme("2026-01-15", "2026-01-17"),
        # Both days are of the week of the 12th; the week after is compared with it.
        "analytics_weekly": acme("2026-01-12", "2026-01-19"),
        "analytics_monthly": acme("2026-01", "2026-02"),
        "response_time_distribution": acme("2026-01"),
        "client_cohorts": {"acme"},
        "platform_analytics": {"2026-01-15", "2026-01-17"},
    }


def test_a_late_stage_change_touches_the_days_until_the_next_one(warm, january, tmp_path):
    land(tmp_path, [event("lead_stage_changed", "2026-01-18T09:00", "l1", stage="nurturing")])
    assert touched(warm, CELLS, lambda: build_at(AS_OF)) == NOTHING | {
        "analytics_daily": acme("2026-01-18", "2026-01-19"),
        "analytics_weekly": acme("2026-01-12", "2026-01-19"),
        "analytics_monthly": acme("2026-01", "2026-02"),
        "lead_funnel": acme("l1"),
        "client_cohorts": {"acme"},
        "platform_analytics": {"2026-01-18"},
    }
    # The next change comes from another stage now.
    holds_against_a_rebuild(warm, AS_OF)


def test_an_earlier_creation_moves_the_lead_with_all_that_is_counted_of_it(warm, january, tmp_path):
    earlier = event("lead_created", "2025-12-30T09:00", "l1", source="missed_call")
    land(tmp_path, [earlier])
    cells = touched(warm, CELLS, lambda: build_at(AS_OF))
    moved = {"l1 created", "l1 won"}
    assert cells["funnel_events"] == {earlier["event_id"]} | {
        january[name]["event_id"] for name in moved
    }
    assert cells["lead_sources"] == acme("2025-12", "2026-01")
    assert cells["lead_cohort_funnel"] == acme("2025-12", "2026-01")
    # The span begins earlier by the days before the 5th; on the 10th the lead is no new one; the
    # stages count it from the 30th on.
    assert {"acme 2025-12-30", "acme 2026-01-10"} <= cells["analytics_daily"]
    assert "acme 2026-01-12" not in cells["analytics_daily"]
    sources = warm.execute(
        "select month, source, leads, revenue_cents from marts.lead_sources order by 1, 2"
    ).fetchall()
    assert sources == [("2025-12", "missed_call", 1, 5_000), ("2026-01", "other", 1, 0)]


def test_a_new_day_without_events_adds_its_rows_and_touches_no_other(warm, january):
    cells = touched(warm, CELLS, lambda: build_at(datetime(2026, 2, 4, 1, tzinfo=UTC)))
    assert cells == NOTHING | {
        "analytics_daily": acme("2026-02-04"),
        "platform_analytics": {"2026-02-04"},
        "plan_adoption_daily": {"2026-02-04"},
    }


# What lands before its time and comes to pass within a day; a mart below, and a cell that shows it.
COMES_TO_PASS = {
    "event": ("analytics_daily", acme("2026-02-03")),
    "client": ("analytics_daily", {"soon 2026-02-03"}),
    "user": ("cohort_retention", {"user 2026-02"}),
}


@pytest.mark.parametrize("kind", COMES_TO_PASS)
def test_what_comes_to_pass_within_a_day_reaches_every_mart_below(warm, january, tmp_path, kind):
    at = "2026-02-03T05:00:00Z"
    match kind:
        case "event":
            land(tmp_path, [event("lead_created", "2026-02-03T05:00", "l9")])
        case "client":
            soon = client("soon", "2026-02-03") | {"created_at": at}
            land_entities(tmp_path, EntityKind.CLIENTS, [soon])
        case "user":
            user = {"user_id": "u", "client_id": "acme", "created_at": at, "updated_at": at}
            land_entities(tmp_path, EntityKind.USERS, [user])
    build_at(AS_OF.replace(hour=1))
    # Without a new batch, and on the same day.
    later = AS_OF.replace(hour=6)
    mart, shown = COMES_TO_PASS[kind]
    cells = {**CELLS, "cohort_retention": "cohort_type || ' ' || cohort_month"}
    assert touched(warm, cells, lambda: build_at(later))[mart] >= shown
    holds_against_a_rebuild(warm, later)


def test_a_period_that_ends_is_complete_and_compared_with_no_event_in_it(warm, january, tmp_path):
    of_february = [
        event("lead_created", "2026-02-02T09:00", "l3"),
        message("2026-02-02T10:00", "inbound", "l3"),
        message("2026-02-02T11:00", "outbound", "l3"),
    ]
    land(tmp_path, of_february)
    build_at(AS_OF)
    months = (
        "select month, is_complete, previous_month_leads_change_pct from marts.analytics_monthly "
        "order by month"
    )
    # A month of two days against a whole one would be a loss.
    assert warm.execute(months).fetchall() == [("2026-01", True, None), ("2026-02", False, None)]
    march = datetime(2026, 3, 1, tzinfo=UTC)
    cells = touched(warm, CELLS, lambda: build_at(march))
    # The week of the 23rd is running.
    weeks = ("2026-02-02", "2026-02-09", "2026-02-16", "2026-02-23")
    assert cells["analytics_weekly"] == acme(*weeks)
    assert cells["analytics_monthly"] == acme("2026-02", "2026-03")
    of_months = ("conversion_funnel", "lead_cohort_funnel", "lead_sources")
    for mart in (*of_months, "response_time_distribution"):
        assert cells[mart] == acme("2026-02"), mart
    assert warm.execute(months).fetchall() == [
        ("2026-01", True, None),
        ("2026-02", True, -50),
        ("2026-03", False, None),
    ]
    # February was open when it was published: that it ended is no restatement.
    assert [row for row in restatements(warm) if row[0] == "analytics_monthly"] == []
    holds_against_a_rebuild(warm, march)


@pytest.mark.deep
def test_an_entity_that_changes_touches_the_span_and_the_counts_of_clients(warm, january, tmp_path):
    changed = client("acme", "2026-01-03") | {"updated_at": "2026-02-01T00:00:00Z"}
    land_entities(tmp_path, EntityKind.CLIENTS, [changed])
    assert touched(warm, CELLS, lambda: build_at(AS_OF)) == NOTHING | {
        "analytics_daily": acme("2026-01-03", "2026-01-04"),
        "analytics_weekly": acme("2025-12-29", "2026-01-05"),
        "client_cohorts": {"acme"},
        "platform_analytics": {"2026-01-03", "2026-01-04", "2026-01-05"},
    }


def test_a_subscription_touches_its_day_and_all_later_ones(warm, january, tmp_path):
    change = event(
        "subscription_changed", "2026-02-01T00:00", None,
        subscription_id="s", plan="pro", mrr_cents=300,
    )  # fmt: skip
    land(tmp_path, [change])
    days = {"2026-02-01", "2026-02-02", "2026-02-03"}
    cells = touched(warm, CELLS, lambda: build_at(AS_OF))
    assert cells["platform_analytics"] == cells["plan_adoption_daily"] == days
    movements = warm.execute(
        "select date, mrr_cents, expansion_mrr_cents from marts.platform_analytics "
        "where date >= '2026-01-31' order by date"
    ).fetchall()
    assert movements == [
        (date(2026, 1, 31), 100, 0),
        (date(2026, 2, 1), 300, 200),
        (date(2026, 2, 2), 300, 0),
        (date(2026, 2, 3), 300, 0),
    ]


@pytest.mark.deep
def test_events_that_no_mart_here_reads_touch_what_any_event_touches(warm, january, tmp_path):
    land(tmp_path, [event("chat", "2026-01-10T12:00", None)])
    assert touched(warm, CELLS, lambda: build_at(AS_OF)) == NOTHING | {"client_cohorts": {"acme"}}


def holds_against_a_rebuild(connection: psycopg.Connection, as_of: datetime) -> None:
    built = rows_of_models(connection)
    build_at(as_of, full_refresh=True)
    rebuilt = rows_of_models(connection)
    assert [model for model in rebuilt if rebuilt[model] != built[model]] == []


@pytest.mark.deep
def test_what_comes_late_and_what_comes_to_pass_end_as_a_rebuild_does(warm, january, tmp_path):
    gone = client("gone", "2025-12-31", churned_at="2026-01-05T00:00:00Z")
    of_gone = {"actor": {"client_id": "gone"}}
    # One vanishes later on, one is created between two builds.
    others = [client("ghost", "2025-12-31"), client("soon", "2026-04-10")]
    land_entities(tmp_path, EntityKind.CLIENTS, [gone, *others])
    land(
        tmp_path,
        [
            event("signup", "2026-01-03T09:00", None) | of_gone,
            event("lead_created", "2026-02-10T09:00", "l3", source="referral"),
        ],
    )
    march = datetime(2026, 3, 3, tzinfo=UTC)
    build_at(march)
    land(
        tmp_path,
        [
            event("lead_created", "2026-01-08T09:00", "l2"),
            event("job_won", "2026-02-21T09:00", "l3", value_cents=5),
            event("invoice_sent", "2026-01-20T09:00", "l1", value_cents=50),
            # After the last day of its client, whose span goes on to it.
            event("signup", "2026-02-20T09:00", None) | of_gone,
        ],
    )
    vanished = client("ghost", "2027-12-31") | {"updated_at": "2026-01-02T00:00:00Z"}
    land_entities(tmp_path, EntityKind.CLIENTS, [vanished])
    build_at(march)
    # What a late invoice of January leaves outstanding, it leaves in each month since; nothing else
    # touches March here.
    outstanding = (
        "select outstanding_invoices_cents from marts.analytics_monthly "
        "where client_id = 'acme' and month = '2026-03'"
    )
    before = value(warm, outstanding)
    land(tmp_path, [event("invoice_sent", "2026-01-21T09:00", "l1", value_cents=7)])
    build_at(march)
    assert value(warm, outstanding) == before + 7
    # In between, cohorts mature and months begin: no input is unread, only time has passed.
    may = datetime(2026, 5, 2, 1, tzinfo=UTC)
    build_at(may)
    holds_against_a_rebuild(warm, may)


@pytest.mark.deep
def test_amounts_of_any_size_stop_no_build(warm, january, tmp_path):
    largest = 10**15
    wins = [
        event("job_won", f"2026-01-{n % 28 + 1:02}T10:00", value_cents=largest) for n in range(93)
    ]
    costs = {"cost_prompt": largest, "cost_completion": largest, "cost_cached": largest}
    chats = [event("chat", f"2026-01-10T09:{n:02}", None, **costs) for n in range(31)]
    land(tmp_path, [event("job_won", "2025-12-10T09:00", value_cents=1), *wins, *chats])
    build_at(AS_OF)
    months = warm.execute(
        "select revenue_attributed_cents, previous_month_revenue_change_pct "
        "from marts.analytics_monthly where month = '2026-01'"
    )
    assert months.fetchall() == [(93 * largest + 5_000, 2**63 - 1)]
    margins = warm.execute(
        "select margin_cents from marts.unit_economics_monthly where month = '2026-01'"
    )
    assert margins.fetchall() == [(1 - 2**63,)]


def restatements(connection: psycopg.Connection) -> list[tuple[Any, ...]]:
    return connection.execute(
        "select mart, client_id, period, old_values, new_values, cause "
        "from marts.restatements order by mart, period"
    ).fetchall()


def test_a_first_build_and_a_new_day_restate_nothing(warm, january, tmp_path):
    # The third of February is open at AS_OF, its first instant: what comes there is no restatement.
    land(tmp_path, [message("2026-02-03T12:00", "inbound")])
    build_at(datetime(2026, 2, 5, tzinfo=UTC))
    assert restatements(warm) == []


def test_a_late_event_restates_closed_periods_with_old_and_new_values(warm, january, tmp_path):
    land(tmp_path, [event("job_won", "2026-01-26T09:00", "l2", value_cents=2_000)])
    build_at(AS_OF)
    assert restatements(warm) == [
        (
            "analytics_daily", "acme", "2026-01-26",
            {"jobs_won": 0, "revenue_attributed_cents": 0},
            {"jobs_won": 1, "revenue_attributed_cents": 2_000},
            "late events",
        ),
        (
            "analytics_monthly", "acme", "2026-01",
            {
                "jobs_won": 1, "revenue_attributed_cents": 5_000, "avg_job_value_cents": 5_000,
                "lead_to_job_rate": 5_000,
            },
            {
                "jobs_won": 2, "revenue_attributed_cents": 7_000, "avg_job_value_cents": 3_500,
                "lead_to_job_rate": 10_000,
            },
            "late events",
        ),
    ]  # fmt: skip


@pytest.mark.deep
def test_an_entity_that_changes_restates_the_counts_of_clients(warm, january, tmp_path):
    land_entities(tmp_path, EntityKind.CLIENTS, [client("other", "2026-02-01")])
    build_at(AS_OF)
    assert [(row[0], row[2], row[5]) for row in restatements(warm)] == [
        ("platform_analytics", "2026-02-01", "entity change"),
        ("platform_analytics", "2026-02-02", "entity change"),
    ]
    churned = client("other", "2026-02-01", status="churned", churned_at="2026-02-01T05:00:00Z")
    land_entities(tmp_path, EntityKind.CLIENTS, [churned | {"updated_at": "2026-02-02T00:00:00Z"}])
    build_at(AS_OF)
    gone = [row for row in restatements(warm) if row[0] == "analytics_daily"]
    assert [(row[1], row[2], row[4], row[5]) for row in gone] == [
        ("other", "2026-02-02", None, "entity change")
    ]


@pytest.mark.deep
def test_a_rebuild_restates_what_someone_has_changed_by_hand(warm, january):
    warm.execute("update marts.analytics_daily set jobs_won = 7 where date = '2026-01-08'")
    build(BuildOptions(start=date(2026, 1, 7), end=date(2026, 1, 9)))
    assert restatements(warm) == [
        ("analytics_daily", "acme", "2026-01-08", {"jobs_won": 7}, {"jobs_won": 0}, "rebuild")
    ]


@pytest.mark.deep
def test_a_window_takes_the_week_and_the_month_that_it_begins_in_whole(warm, january):
    window = BuildOptions(start=date(2026, 1, 21), end=date(2026, 1, 22))
    cells = touched(warm, CELLS, lambda: build(window))
    assert cells["analytics_daily"] == acme("2026-01-21")
    assert cells["analytics_weekly"] == acme("2026-01-19")
    assert cells["analytics_monthly"] == acme("2026-01")


def test_the_status_of_every_mart_shows_its_rows_and_how_far_it_has_read(warm, january, tmp_path):
    land(tmp_path, [event("job_won", "2026-01-26T09:00", "l2", value_cents=2_000)])
    build_at(AS_OF)
    build(BuildOptions(start=date(2026, 1, 7), end=date(2026, 1, 9)))
    land(tmp_path, [event("job_lost", "2026-01-27T09:00", "l2")])
    finished = run("status", "--json")
    assert (finished.code, finished.errors) == (0, "")
    marts = {mart["mart"]: mart for mart in json.loads(finished.output)["marts"]}
    # Views have no rows of their own, and the marts of other families are not built here.
    tables = {name: mart for name, mart in marts.items() if mart["rows"] is not None}
    assert tables.keys() >= CELLS.keys()
    for name, mart in tables.items():
        rows = warm.execute(
            sql.SQL("select count(*) from {}").format(sql.Identifier("marts", name))
        ).fetchone()
        assert (mart["rows"],) == rows, name
        assert mart["built_as_of"] == AS_OF.isoformat()
        assert mart["batches_behind"] == 1
    table = run("status")
    assert table.code == 0
    assert "analytics_daily" in table.output


def test_a_check_shows_in_the_status_of_its_mart(warm, january):
    statuses = dict(
        warm.execute("select mart, last_check_status from marts.mart_status").fetchall()
    )
    assert statuses["analytics_daily"] == "passed"
    # Nothing but its table's constraints checks this one.
    assert statuses["lead_sources"] == "constraints only"
    warm.execute(
        "insert into warehouse.check_results "
        "(check_name, source, model, severity, passed, batch_seq) "
        "values ('mine', 'dbt', 'analytics_daily', 'error', false, 1)"
    )
    statuses = dict(
        warm.execute("select mart, last_check_status from marts.mart_status").fetchall()
    )
    assert statuses["analytics_daily"] == "failed"


def test_before_the_first_build_the_status_says_what_to_do(warehouse):
    finished = run("status")
    assert (finished.code, finished.output) == (1, "")
    assert "warehouse build" in finished.errors


def test_the_longest_keys_that_are_taken_go_through_a_build(warm, tmp_path):
    start_afresh(warm)
    # Four bytes a character, and nothing that an index could compress.
    longest = "".join(chr(0x1F300 + hash((n, "key")) % 700) for n in range(512))
    events = [
        event("lead_created", "2026-01-10T09:00", longest, source=longest),
        event("job_won", "2026-01-11T09:00", longest, value_cents=1),
        event(
            "subscription_started", "2026-01-06T00:00", None,
            subscription_id=longest, plan=longest[:128], mrr_cents=100,
        ),
    ]  # fmt: skip
    for one in events:
        one["actor"] |= {"client_id": longest[:128], "user_id": longest, "anonymous_id": longest}
    land(tmp_path, events)
    build_at(AS_OF)
    found = warm.execute("select lead_id, source from marts.lead_funnel").fetchall()
    assert found == [(longest, longest)]
