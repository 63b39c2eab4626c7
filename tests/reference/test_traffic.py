"""The reference of the traffic marts says what the contract says: examples worked out by hand."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import examples
from tests.properties.strategies import RECEIVED_AT
from tests.properties.traffic_streams import AS_OFS, ingested, traffic_streams
from tests.reference.intake import validate
from tests.reference.traffic import (
    all_marts,
    host_of,
    sessions,
    site_of,
    stats_daily,
    stats_hourly,
    top_pages_daily,
    traffic_countries_daily,
    traffic_sources_daily,
    visitor_funnel_monthly,
)

# The reference changes only with the contract.
pytestmark = pytest.mark.deep

AS_OF = datetime(2025, 3, 20, 12, tzinfo=UTC)
SOME_EXAMPLES = examples(10)
Event = dict[str, Any]
Row = dict[str, Any]

_numbers = count(1)


def event(
    name: str,
    at: str,
    *,
    client: str = "acme",
    user: str | None = "ann",
    session: str | None = None,
    path: str = "/",
    url: str | None = None,
    referrer: str | None = None,
    campaign: dict[str, Any] | None = None,
    **rest: Any,
) -> Event:
    return {
        "event_id": f"00000000-0000-0000-0000-{next(_numbers):012x}",
        "event": name,
        "timestamp": at if at.endswith("Z") else f"2025-03-10T{at}Z",
        "actor": {"client_id": client, "user_id": user},
        "context": {
            "session_id": session,
            "page": {"path": path, "url": url, "referrer": referrer},
            "campaign": campaign,
        },
        **rest,
    }


def view(at: str, **rest: Any) -> Event:
    return event("page_view", at, **rest)


def contact(at: str, **rest: Any) -> Event:
    return event("contact_submitted", at, **rest)


def picked(row: Row, *names: str) -> tuple[Any, ...]:
    return tuple(row[name] for name in names)


def lengths(events: list[Event], as_of: datetime = AS_OF) -> list[int]:
    return [row["page_views"] for row in sessions(events, as_of)]


def converts(*events: Event) -> list[bool]:
    return [row["converted"] for row in sessions(list(events), AS_OF)]


def origin(**rest: Any) -> tuple[str, str, str]:
    [row] = sessions([view("08:00:00", **rest)], AS_OF)
    return row["source"], row["medium"], row["campaign"]


def test_half_an_hour_without_a_view_ends_a_session() -> None:
    assert lengths([view("08:00:00"), view("08:29:59.999999")]) == [2]
    assert lengths([view("08:00:00"), view("08:30:00")]) == [1, 1]
    # A late one joins two that were apart.
    assert lengths([view("08:00:00"), view("08:30:00"), view("08:15:00")]) == [3]


def test_a_session_lasts_less_than_a_day_and_the_next_has_a_day_of_its_own() -> None:
    start = datetime(2025, 3, 10, tzinfo=UTC)
    every_20_minutes = [
        view(f"{start + number * timedelta(minutes=20):%Y-%m-%dT%H:%M:%SZ}")
        for number in range(200)
    ]
    # 72 times 20 minutes are 24 hours: the 73rd view begins the next session.
    assert lengths(every_20_minutes) == [72, 72, 56]
    [first, *_] = sessions(every_20_minutes, AS_OF)
    assert first["duration_seconds"] == 71 * 20 * 60


def test_a_producers_session_goes_on_as_long_as_it_says_and_whoever_it_is() -> None:
    events = [
        view("08:00:00", session="s-1", path="/in"),
        view("08:10:00"),
        view("20:00:00.5", session="s-1", user="bob", path="/out"),
        view("21:00:00", session="s-1", client="globex"),
    ]
    rows = {(row["client_id"], row["session_id"]): row for row in sessions(events, AS_OF)}
    assert set(rows) == {("acme", "s-1"), ("acme", None), ("globex", "s-1")}
    row = rows["acme", "s-1"]
    assert picked(row, "visitor_id", "page_views", "is_bounce") == ("ann", 2, False)
    assert picked(row, "entry_path", "exit_path", "duration_seconds") == ("/in", "/out", 43201)


def test_views_of_a_producers_session_do_not_bridge_a_gap() -> None:
    events = [view("08:00:00"), view("08:20:00", session="s-1"), view("08:40:00")]
    assert sorted(lengths(events)) == [1, 1, 1]


def test_a_visitor_is_a_user_or_an_own_id_or_a_hash() -> None:
    known = view("08:00:00", _visitor_hash="ab12")
    known["actor"] |= {"anonymous_id": "v-1"}
    own = view("09:00:00", user="", _visitor_hash="ab12")
    own["actor"]["anonymous_id"] = "v-1"
    hashed = view("10:00:00", user=None, _visitor_hash="ab12")
    nobody = view("11:00:00", user=None, session="s-1")
    bot = view("12:00:00", _is_bot=True)
    rows = sessions([known, own, hashed, nobody, bot], AS_OF)
    assert [row["visitor_id"] for row in rows] == ["ann", "v-1", "ab12"]


def test_a_contact_without_a_session_converts_its_visitor_until_half_an_hour_later() -> None:
    visit = [view("08:00:00"), view("08:10:00")]
    assert converts(*visit, contact("07:59:59.999999")) == [False]
    assert converts(*visit, contact("08:00:00")) == [True]
    assert converts(*visit, contact("08:39:59.999999")) == [True]
    assert converts(*visit, contact("08:40:00")) == [False]
    assert converts(*visit, contact("08:05:00", user="bob")) == [False]
    assert converts(*visit, contact("08:05:00", client="globex")) == [False]
    assert converts(*visit, contact("08:05:00", session="s-9")) == [False]
    assert converts(*visit, contact("08:05:00", _is_bot=True)) == [False]


def test_a_contact_with_a_session_converts_that_one_whenever_it_comes() -> None:
    visit = view("08:00:00", session="s-1")
    assert converts(visit, contact("2025-03-01T00:00:00Z", session="s-1", user=None)) == [True]
    assert converts(visit, event("signup", "23:00:00", session="s-1", user="bob")) == [True]
    assert converts(visit, contact("23:00:00", session="s-1", client="globex")) == [False]
    # Without one it is its visitor's, here too.
    assert converts(visit, contact("08:29:59")) == [True]


def test_a_campaign_that_names_a_source_comes_first() -> None:
    google = "https://www.google.com/"
    full = {"source": "News", "medium": "email", "name": "spring"}
    assert origin(campaign=full, referrer=google) == ("News", "email", "spring")
    assert origin(campaign={"source": "news"}) == ("news", "none", "none")
    assert origin(campaign={"source": ""}) == ("direct", "none", "none")
    assert origin(campaign={"source": ""}, referrer=google) == ("google", "organic", "none")
    assert origin(campaign={"source": "news", "medium": "", "name": ""}) == ("news", "none", "none")
    nameless = {"source": None, "medium": "cpc", "name": "spring"}
    assert origin(campaign=nameless, referrer=google) == ("google", "organic", "none")
    assert origin(campaign=nameless) == ("direct", "none", "none")


def test_the_pages_own_host_is_no_referrer() -> None:
    url = "https://www.acme.example/start"
    assert origin(url=url, referrer="http://ACME.example:81/x") == ("direct", "none", "none")
    shop = origin(url=url, referrer="https://shop.acme.example/x")
    assert shop == ("shop.acme.example", "referral", "none")
    own = "https://acme.example/x"
    assert origin(url=None, referrer=own) == ("acme.example", "referral", "none")
    assert origin(url="https://x.com/a", referrer="https://x.com/") == ("direct", "none", "none")


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("https://www.blog.example:8443/a?b#c", "blog.example"),
        ("HTTPS://user:p@ss@Blog.Example", "blog.example"),
        ("https://blog.example?at=x@google.com", "blog.example"),
        ("http://[2001:db8::1]:80/", "[2001:db8::1]"),
        ("https://www.www.example", "www.example"),
        ("http://BÜCHER.example", "bÜcher.example"),
        ("https://www./", None),
        ("https:///path", None),
        ("//blog.example/", None),
        ("about:blank", None),
        (" https://blog.example", None),
        ("", None),
        (None, None),
    ],
)
def test_the_host_of_an_address(address: str | None, host: str | None) -> None:
    assert host_of(address) == host


@pytest.mark.parametrize(
    ("host", "site"),
    [
        ("google.com", ("google", "organic")),
        ("google.co.uk", ("google", "organic")),
        ("news.google.de", ("google", "organic")),
        ("google.example.com", ("google.example.com", "referral")),
        ("notgoogle.com", ("notgoogle.com", "referral")),
        ("google.com\n", ("google.com\n", "referral")),
        ("google.fb.me", ("google", "organic")),
        ("cn.bing.com", ("bing", "organic")),
        ("duckduckgo.com", ("duckduckgo", "organic")),
        ("search.yahoo.co.jp", ("yahoo", "organic")),
        ("baidu.com", ("baidu", "organic")),
        ("yandex.com.tr", ("yandex", "organic")),
        ("ya.ru", ("yandex", "organic")),
        ("ecosia.org", ("ecosia", "organic")),
        ("l.facebook.com", ("facebook", "social")),
        ("l.instagram.com", ("instagram", "social")),
        ("lnkd.in", ("linkedin", "social")),
        ("t.co", ("twitter", "social")),
        ("x.com", ("twitter", "social")),
        ("netflix.com", ("netflix.com", "referral")),
        ("x.com.evil.example", ("x.com.evil.example", "referral")),
        ("old.reddit.com", ("reddit", "social")),
        ("youtu.be", ("youtube", "social")),
        ("pinterest.com.au", ("pinterest", "social")),
        ("tiktok.com", ("tiktok", "social")),
    ],
)
def test_the_site_of_a_host(host: str, site: tuple[str, str]) -> None:
    assert site_of(host) == site


def test_stats_count_a_session_where_it_started() -> None:
    events = [
        view("08:50:00"),
        view("09:10:00.5"),
        view("09:20:00", user="bob"),
        view("08:59:00", user="cat"),
        view("09:00:00", user=None),
        contact("09:30:00", user=None),
        event("signup", "11:00:00"),
        event("signup", "11:00:00", _is_bot=True),
    ]
    rows = {row["hour"].hour: row for row in stats_hourly(events, AS_OF)}
    columns = ("page_views", "unique_visitors", "sessions", "bounces", "avg_session_seconds")
    # 1200.5 seconds and 0: 600.25.
    assert picked(rows[8], *columns) == (2, 2, 2, 1, 600)
    assert picked(rows[9], *columns) == (2, 2, 1, 1, 0)
    assert picked(rows[9], "contact_submissions", "signups") == (1, 0)
    assert picked(rows[11], *columns, "signups") == (0, 0, 0, 0, None, 1)
    assert len(rows) == 3
    [day] = stats_daily(events, AS_OF)
    # 1200.5 seconds of three: 400.1667.
    assert picked(day, "date", *columns) == (date(2025, 3, 10), 4, 3, 3, 2, 400)


def test_the_mean_of_durations_is_rounded_once() -> None:
    events = [view("08:00:00"), view("08:00:00.4"), view("09:00:00"), view("09:00:00.6")]
    assert [row["duration_seconds"] for row in sessions(events, AS_OF)] == [0, 1]
    [day] = stats_daily(events, AS_OF)
    assert day["avg_session_seconds"] == 1


def test_pages_count_entries_and_exits_on_their_own_days() -> None:
    events = [view("23:50:00", path="/a"), view("2025-03-11T00:10:00Z", path="/b")]
    rows = {(row["date"].day, row["path"]): row for row in top_pages_daily(events, AS_OF)}
    assert {key: picked(row, "entries", "exits") for key, row in rows.items()} == {
        (10, "/a"): (1, 0),
        (11, "/b"): (0, 1),
    }
    [cut_off] = top_pages_daily(events, datetime(2025, 3, 11, tzinfo=UTC))
    assert picked(cut_off, "entries", "exits") == (1, 1)
    assert [row["country"] for row in traffic_countries_daily(events, AS_OF)] == ["none", "none"]


def test_sources_are_of_the_day_that_the_session_started() -> None:
    search = "https://duckduckgo.com/"
    events = [
        view("23:50:00", referrer=search),
        view("2025-03-11T00:10:00Z", referrer="https://t.co/x"),
        view("10:00:00", referrer=search),
        view("10:00:00", referrer=search, user="bob"),
        contact("10:29:59", user="bob"),
    ]
    [row] = traffic_sources_daily(events, AS_OF)
    assert picked(row, "date", "source", "sessions", "visitors", "page_views") == (
        date(2025, 3, 10),
        "duckduckgo",
        3,
        2,
        4,
    )
    assert picked(row, "conversions", "conversion_rate") == (1, Decimal("33.33"))


def test_the_visitors_funnel_of_a_month() -> None:
    events = [
        # Engaged with a view of the next month; converted at the very instant of the first.
        view("2025-02-28T23:59:00Z"),
        view("2025-03-01T00:00:00Z"),
        contact("2025-02-28T23:59:00Z", session="s-9"),
        # Converted before the first view of the month.
        view("2025-02-20T00:00:00Z", user="bob"),
        contact("2025-02-19T00:00:00Z", user="bob"),
        # Another's views in a session are nothing of one's own.
        view("2025-02-01T00:00:00Z", user="cat", session="s-1"),
        view("2025-02-01T00:00:00Z", user="dan", session="s-1"),
        contact("2025-02-01T00:00:00Z", user="eve"),
    ]
    rows = visitor_funnel_monthly(events, AS_OF)
    assert [picked(row, "step_order", "visitors", "conversion_rate") for row in rows] == [
        (1, 4, Decimal("100.00")),
        (2, 2, Decimal("50.00")),
        (3, 1, Decimal("25.00")),
        (1, 1, Decimal("100.00")),
        (2, 0, Decimal("0.00")),
        (3, 0, Decimal("0.00")),
    ]
    assert [row["month"] for row in rows] == ["2025-02"] * 3 + ["2025-03"] * 3


@SOME_EXAMPLES
@given(traffic_streams())
def test_every_event_of_the_streams_is_accepted(events: list[Event]) -> None:
    for line in events:
        assert validate(json.dumps(line).encode(), RECEIVED_AT, set()).kind == "accepted", line


@SOME_EXAMPLES
@given(traffic_streams(), st.sampled_from(AS_OFS))
def test_the_marts_agree_with_each_other(events: list[Event], as_of: datetime) -> None:
    marts = all_marts(ingested(events), as_of)
    named = [row for row in marts["sessions"] if row["session_id"] is not None]
    ids = Counter(picked(row, "client_id", "session_id") for row in named)
    assert max(ids.values(), default=1) == 1

    def total(mart: str, name: str) -> int:
        return sum(row[name] for row in marts[mart])

    for mart in ("stats_hourly", "traffic_countries_daily", "top_pages_daily", "sessions"):
        assert total(mart, "page_views") == total("stats_daily", "page_views")
    for name in ("entries", "exits"):
        assert total("top_pages_daily", name) == len(marts["sessions"])
    for mart in ("stats_hourly", "stats_daily", "traffic_sources_daily"):
        assert total(mart, "sessions") == len(marts["sessions"])
    assert total("traffic_sources_daily", "conversions") == total("sessions", "converted")
    assert total("stats_hourly", "bounces") == total("sessions", "is_bounce")
