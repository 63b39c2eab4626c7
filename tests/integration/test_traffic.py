"""The marts of traffic: what a build touches, and how sessions come out when views come late."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from orchestration.operations.build import BuildOptions, build
from tests.conftest import Server
from tests.support.building import build_at, land, made_once, start_afresh, touched, warm_warehouse

AS_OF = datetime(2026, 2, 3, tzinfo=UTC)
LATER = AS_OF + timedelta(hours=1)
# Sessions by their entry, as what names one that was cut is nobody's affair.
CELLS = {
    "sessions": "client_id || ' ' || entry_path",
    "stats_hourly": "client_id || ' ' || to_char(hour at time zone 'utc', 'YYYY-MM-DD HH24')",
    "stats_daily": "client_id || ' ' || date",
    "traffic_countries_daily": "client_id || ' ' || date",
    "top_pages_daily": "client_id || ' ' || date",
    "traffic_sources_daily": "client_id || ' ' || date",
    "visitor_funnel_monthly": "client_id || ' ' || month",
}
NOTHING: dict[str, set[str]] = {mart: set() for mart in CELLS}
BOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"

Event = dict[str, Any]


@pytest.fixture(scope="module")
def warm(servers: Callable[[int], Server]) -> Iterator[psycopg.Connection]:
    with warm_warehouse(servers(18), only=["traffic"]) as connection:
        yield connection


def event(kind: str, at: str, visitor: str | None, **context: Any) -> Event:
    return {
        "event_id": str(uuid.uuid4()),
        "event": kind,
        "timestamp": f"{at}:00Z",
        "actor": {"client_id": "acme"} | ({"user_id": visitor} if visitor else {}),
        "context": context,
    }


def view(at: str, path: str, visitor: str | None = "ann", **context: Any) -> Event:
    return event("page_view", at, visitor, page={"path": path}, **context)


@pytest.fixture
def january(warm: psycopg.Connection, tmp_path: Path) -> None:
    """Two visitors: Ann's views are cut to sessions, of which one ends before midnight; built."""
    made_once(warm, "january", lambda: build_january(tmp_path))


def build_january(directory: Path) -> None:
    events = [
        view("2026-01-10T09:00", "/morning"),
        view("2026-01-10T09:20", "/morning/2"),
        view("2026-01-10T10:00", "/forenoon"),
        view("2026-01-10T15:00", "/afternoon"),
        view("2026-01-20T23:50", "/night"),
        view("2026-01-21T00:10", "/night/2"),
        view("2026-01-25T12:00", "/named", "bob", session_id="s"),
        view("2026-01-26T12:00", "/named/2", "bob", session_id="s"),
    ]
    land(directory, events)
    build_at(AS_OF)


def acme(*cells: str) -> set[str]:
    return {f"acme {cell}" for cell in cells}


def daily(*days: str) -> dict[str, set[str]]:
    """The marts of a day or a month, all of which a page view of these days touches."""
    marts = set(CELLS) - {"sessions", "stats_hourly", "visitor_funnel_monthly"}
    return {mart: acme(*days) for mart in marts} | {
        "visitor_funnel_monthly": acme(*{day[:7] for day in days})
    }


def sessions(connection: psycopg.Connection) -> dict[str, tuple[Any, ...]]:
    """Return exit, views, start and conversion of each session, by its entry."""
    rows = connection.execute(
        "select entry_path, exit_path, page_views, to_char(started_at, 'DD HH24:MI'), converted "
        "from marts.sessions"
    ).fetchall()
    return {row[0]: row[1:] for row in rows}


def test_a_late_view_that_joins_two_sessions_touches_their_hours_and_day(warm, january, tmp_path):
    before = sessions(warm)
    land(tmp_path, [view("2026-01-10T09:40", "/between")])
    assert touched(warm, CELLS, lambda: build_at(AS_OF)) == NOTHING | daily("2026-01-10") | {
        "sessions": acme("/morning", "/forenoon"),
        "stats_hourly": acme("2026-01-10 09", "2026-01-10 10"),
    }
    joined = {"/morning": ("/forenoon", 4, "10 09:00", False)}
    parted = {"/morning", "/forenoon"}
    assert sessions(warm) == joined | {
        entry: row for entry, row in before.items() if entry not in parted
    }


def test_a_month_that_ends_is_complete_with_no_view_in_it(warm, january, tmp_path):
    land(tmp_path, [view("2026-02-02T09:00", "/february")])
    build_at(AS_OF)
    complete = "select distinct is_complete from marts.visitor_funnel_monthly where month = %s"
    assert warm.execute(complete, ("2026-02",)).fetchall() == [(False,)]
    march = datetime(2026, 3, 1, tzinfo=UTC)
    assert touched(warm, CELLS, lambda: build_at(march)) == NOTHING | {
        "visitor_funnel_monthly": acme("2026-02")
    }
    assert warm.execute(complete, ("2026-02",)).fetchall() == [(True,)]


def test_a_late_view_that_moves_a_named_start_touches_the_days_of_both_starts(
    warm, january, tmp_path
):
    land(tmp_path, [view("2026-01-20T23:55", "/named", "bob", session_id="s")])
    assert touched(warm, CELLS, lambda: build_at(AS_OF)) == NOTHING | daily(
        "2026-01-20", "2026-01-25"
    ) | {
        # Countries are those of the view's own day.
        "traffic_countries_daily": acme("2026-01-20"),
        # It ends where it ended: that day's pages are counted again, with the same outcome.
        "top_pages_daily": acme("2026-01-20", "2026-01-25", "2026-01-26"),
        "sessions": acme("/named"),
        "stats_hourly": acme("2026-01-20 23", "2026-01-25 12"),
    }
    starts = warm.execute(
        "select date, sessions from marts.stats_daily where sessions > 0 order by date"
    ).fetchall()
    assert starts == [(date(2026, 1, 10), 3), (date(2026, 1, 20), 2)]


def test_a_late_view_before_midnight_draws_a_cut_session_to_its_day(warm, january, tmp_path):
    land(tmp_path, [view("2026-01-22T00:05", "/next night")])
    build_at(AS_OF)
    assert sessions(warm)["/next night"] == ("/next night", 1, "22 00:05", False)
    land(tmp_path, [view("2026-01-21T23:45", "/before")])
    days = ("2026-01-21", "2026-01-22")
    assert touched(warm, CELLS, lambda: build_at(AS_OF)) == NOTHING | daily(*days) | {
        "traffic_countries_daily": acme("2026-01-21"),
        "sessions": acme("/next night", "/before"),
        "stats_hourly": acme("2026-01-21 23", "2026-01-22 00"),
    }
    assert sessions(warm)["/before"] == ("/next night", 2, "21 23:45", False)
    assert warm.execute(
        "select sessions from marts.stats_daily where date = '2026-01-22'"
    ).fetchall() == [(0,)]


def test_a_late_conversion_touches_its_day_and_its_session(warm, january, tmp_path):
    land(tmp_path, [event("signup", "2026-01-21T00:39", "ann")])
    assert touched(warm, CELLS, lambda: build_at(AS_OF)) == NOTHING | daily(
        "2026-01-20", "2026-01-21"
    ) | {
        "traffic_countries_daily": set(),
        # No session started on the 21st.
        "traffic_sources_daily": acme("2026-01-20"),
        "sessions": acme("/night"),
        "stats_hourly": acme("2026-01-20 23", "2026-01-21 00"),
    }
    assert sessions(warm)["/night"] == ("/night/2", 2, "20 23:50", True)
    assert [entry for entry, row in sessions(warm).items() if row[-1]] == ["/night"]


def test_a_conversion_of_nobody_converts_the_session_that_it_names(warm, january, tmp_path):
    land(tmp_path, [event("contact_submitted", "2026-01-02T12:00", None, session_id="s")])
    assert touched(warm, CELLS, lambda: build_at(AS_OF)) == NOTHING | {
        "sessions": acme("/named"),
        "stats_hourly": acme("2026-01-02 12", "2026-01-25 12"),
        "stats_daily": acme("2026-01-02", "2026-01-25"),
        "top_pages_daily": acme("2026-01-25", "2026-01-26"),
        "traffic_sources_daily": acme("2026-01-25"),
        "visitor_funnel_monthly": acme("2026-01"),
    }
    assert sessions(warm)["/named"][-1] is True


def test_bots_nobodies_and_other_events_touch_nothing(warm, january, tmp_path):
    events = [
        view("2026-01-10T09:40", "/between", "ann", user_agent=BOT),
        view("2026-01-10T09:40", "/between", None, session_id="s"),
        event("signup", "2026-01-10T09:40", "ann", user_agent=BOT),
        event("session", "2026-01-10T09:40", "ann"),
    ]
    land(tmp_path, events)
    assert touched(warm, CELLS, lambda: build_at(AS_OF)) == NOTHING
    kept = warm.execute("select count(*) from intermediate.int_page_view_events where is_bot")
    assert kept.fetchone() == (1,)


def test_a_view_ahead_counts_with_the_first_build_that_has_passed_it(warm, january, tmp_path):
    land(tmp_path, [view("2026-02-03T00:30", "/tomorrow")])
    assert touched(warm, CELLS, lambda: build_at(AS_OF)) == NOTHING
    assert touched(warm, CELLS, lambda: build_at(LATER)) == NOTHING | daily("2026-02-03") | {
        "sessions": acme("/tomorrow"),
        "stats_hourly": acme("2026-02-03 00"),
    }


def test_who_never_rests_is_recomputed_from_the_session_that_a_view_falls_in(warm, tmp_path):
    """Three days of views 25 minutes apart: a late view moves what follows it, nothing before."""
    start_afresh(warm)
    start = datetime(2026, 1, 10, tzinfo=UTC)
    moments = [start + number * timedelta(minutes=25) for number in range(173)]
    views = [view(f"{at:%Y-%m-%dT%H:%M}", f"/{at:%d %H:%M}") for at in moments]
    # The second session starts at 00:10 on the 11th, a third one ten minutes after it
    # has had its day.
    land(tmp_path, [each for each in views if each["timestamp"] != "2026-01-12T00:20:00Z"])
    build_at(AS_OF)
    assert sorted(row[2] for row in sessions(warm).values()) == [
        "10 00:00", "11 00:10", "12 00:45",
    ]  # fmt: skip
    land(tmp_path, [each for each in views if each["timestamp"] == "2026-01-12T00:20:00Z"])
    cells = touched(warm, CELLS, lambda: build_at(AS_OF))
    assert cells["sessions"] == acme("/11 00:10", "/12 00:45", "/12 00:20")


@pytest.mark.parametrize("day", ["2026-01-10", "2026-01-21"])
def test_a_backfill_of_a_day_changes_nothing_that_was_right(warm, january, day):
    before = sessions(warm)
    start = date.fromisoformat(day)
    build(BuildOptions(start=start, end=start + timedelta(days=1)))
    assert sessions(warm) == before


def test_texts_that_no_index_could_hold_break_no_build(warm, january, tmp_path):
    # Random, as a text that repeats itself would be compressed and fit.
    long = "".join(str(uuid.uuid4()) for _ in range(300))
    events = [
        view("2026-01-10T18:00", f"/{long}"),
        view("2026-01-10T20:00", "/\\x00\\"),
        view("2026-01-10T22:00", "/campaign", campaign=dict.fromkeys(["source", "name"], long)),
    ]
    land(tmp_path, events)
    build_at(AS_OF)
    assert {f"/{long}", "/\\x00\\", "/campaign"} <= sessions(warm).keys()
