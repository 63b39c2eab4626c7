"""The dashboard in a real browser: what it shows to whom, and what it says when it can't.

With WAREHOUSE_SCREENSHOTS, a folder, pictures of its pages on the demo's data are left there, as
`make docs` does.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import psycopg
import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Route, expect

from serving import service
from serving.catalogue import marts
from serving.dashboard.pages import PAGES
from tests.conftest import DEEP, Server
from tests.support.api import Api, served, with_keys_of_readers
from tests.support.browser import a_browser
from tests.support.building import build_at, land
from tests.support.demo import served_demo
from tests.support.lines import event, value
from tests.support.people import (
    AS_OF,
    land_both_tenants,
    url_of,
    warehouse_with_people,
)
from tests.support.shown_tiles import amount, big_figure_of, instant, lines_of, summary_of
from warehouse import key_store

NOON = AS_OF + timedelta(hours=12)
TODAY = "2026-01-31"
DESKTOP, PHONE = (1400, 1000), (390, 844)
# What a page may weigh when it is first seen, with its figures.
MOST_BYTES = 100_000
# A source of leads that a careless page would run, and a spreadsheet too.
HOSTILE = "=1+1 <img src=x onerror=alert(1)>"
# A collector elsewhere, and a tracker that only notes what it was told.
COLLECTOR = "https://collect.example"
STAND_IN = (
    "window.tracked ??= []; window.warehouse ??= {track: (...given) => window.tracked.push(given)};"
)
AXE = (files("axe_playwright_python") / "axe.min.js").read_text()


def visits_and_leads() -> list[dict[str, Any]]:
    """Events of acme's site of sixty days: on each day one visitor more than the day before."""
    return [
        event(
            0,
            event_id=None,
            event=name,
            timestamp=(AS_OF - timedelta(days=60 - day) + timedelta(minutes=number)).isoformat(),
            actor={"client_id": "acme"} | who,
            context={"page": {"path": "/"}, "source": "api"},
            properties=properties,
        )
        for day in range(61)
        for number in range(day + 1)
        for name, who, properties in (
            ("page_view", {"user_id": f"visitor {number}"}, {}),
            ("lead_created", {"lead_id": f"lead {day} {number}"}, {"source": HOSTILE}),
        )
    ]


@pytest.fixture(scope="module")
def owner(
    servers: Callable[[int], Server], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[psycopg.Connection]:
    """The owner of a warehouse with two tenants, built at noon: the day is still running."""
    with warehouse_with_people(servers(18)) as connection:
        land_both_tenants(tmp_path_factory.mktemp("events"))
        land(tmp_path_factory.mktemp("visits"), visits_and_leads())
        build_at(NOON)
        yield connection


@pytest.fixture(scope="module")
def api(owner: psycopg.Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with served(owner, tmp_path_factory.mktemp("home")) as api:
        with_keys_of_readers(api)
        # A client of whom nothing has come yet.
        owner.execute("insert into warehouse.tenants values ('stranger', 'newcomer', null)")
        api.new_key("stranger", role="stranger")
        yield api


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with a_browser() as browser:
        yield browser


class Person:
    """Somebody at a browser: what they see, and what went wrong on their pages."""

    def __init__(self, url: str, context: BrowserContext) -> None:
        self.url = url
        self.faults: list[str] = []
        self.page = self.new_page(context)

    def new_page(self, context: BrowserContext) -> Page:
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda message: self.faults.append(message.text))
        page.on("request", lambda request: self._note(request.url))
        return page

    def _note(self, url: str) -> None:
        if not url.startswith((self.url, "data:", "blob:")):
            self.faults.append(f"a request to {url}")

    def opens(self, path: str) -> Page:
        self.page.goto(f"{self.url}/dashboard/{path}")
        self.waits()
        return self.page

    def waits(self) -> None:
        """Wait until no tile is loading."""
        loading = self.page.locator("[data-state=loading]:not([hidden])")
        expect(loading).to_have_count(0, timeout=20_000)

    def states(self) -> dict[str, str]:
        """Return the state of each tile that is there."""
        return self.page.evaluate(
            "Object.fromEntries([...document.querySelectorAll('[data-tile]:not([hidden])')]"
            ".map((tile) => [tile.id, tile.dataset.state]))"
        )

    def figure(self, tile: str) -> str:
        return self.page.locator(f"#{tile} .big").inner_text()

    def csv(self, tile: str) -> list[dict[str, str]]:
        with self.page.expect_download() as download:
            self.page.locator(f"#{tile} .csv").click()
        text = Path(download.value.path()).read_text("utf-8")
        return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture
def somebody(api: Api, browser: Browser) -> Iterator[Callable[..., Person]]:
    """Give people who are signed in with a reader's key; their pages must have no faults."""
    there: list[tuple[Person, BrowserContext]] = []

    def signed_in(
        reader: str | None, size: tuple[int, int] = DESKTOP, at: Api = api, **options: Any
    ) -> Person:
        width, height = size
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        if reader:
            cookie = {"name": "warehouse_key", "value": at.keys[reader], "url": at.url}
            context.add_cookies([cookie])  # type: ignore[list-item]
        there.append((Person(at.url, context), context))
        return there[-1][0]

    yield signed_in
    for person, context in there:
        context.close()
        assert person.faults == []


@pytest.mark.parametrize(
    ("reader", "scheme", "size"),
    [
        ("ann", "dark", PHONE),
        DEEP("ann", "light", DESKTOP),
        DEEP("ann", "light", PHONE),
        DEEP("acme", "dark", DESKTOP),
        DEEP("acme", "light", PHONE),
        DEEP("user", "light", DESKTOP),
    ],
)
def test_every_page_loads_is_light_and_can_be_read_by_everybody(
    somebody: Callable[..., Person], reader: str, scheme: str, size: tuple[int, int]
) -> None:
    person = somebody(reader, size, color_scheme=scheme)
    page = person.opens("overview")
    links = page.locator("nav a")
    names = [link.get_attribute("href") for link in links.all()]
    if reader == "ann":
        assert names == [one.name for one in PAGES]
    for name in names:
        assert name
        person.opens(name)
        assert set(person.states().values()) <= {"ready", "empty"}, (name, person.states())
        weight = page.evaluate(
            "[...performance.getEntriesByType('resource'), "
            "...performance.getEntriesByType('navigation')]"
            ".reduce((sum, one) => sum + one.transferSize, 0)"
        )
        assert 0 < weight < MOST_BYTES, name
        # Nothing but tables and charts, which scroll in themselves, is wider than the screen.
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        assert violations(page) == [], name


def violations(page: Page) -> list[tuple[str, str]]:
    """Return which rules of accessibility a page breaks, and where first."""
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [(one["id"], one["nodes"][0]["html"][:200]) for one in found]


def test_figures_count_complete_days_and_the_running_one_is_marked(
    somebody: Callable[..., Person], owner: psycopg.Connection
) -> None:
    person = somebody("acme")
    page = person.opens("overview")
    expect(page.locator("#about-range")).to_contain_text(
        "30 complete days, 2026-01-01 to 2026-01-30, and 2026-01-31, still running at 12:00 UTC"
    )
    leads = (
        "select sum(new_leads)::text from marts.analytics_daily where client_id = 'acme' "
        "and date >= %s and date < %s"
    )
    now, before = (
        value(owner, leads, date, end)
        for date, end in (("2026-01-01", TODAY), ("2025-12-02", "2026-01-01"))
    )
    assert person.figure("client-leads").replace(",", "") == now
    expect(page.locator("#client-leads .change")).to_contain_text(f"from {before} in the 30 days")
    assert [one["new_leads"] for one in person.csv("client-leads")] == [now, before]
    expect(page.locator("#client-leads-by-day .legend")).to_contain_text(f"{TODAY}: still running")
    assert [one["day"] for one in person.csv("client-leads-by-day") if one["complete"] == "no"] == [
        TODAY
    ]
    visitors = value(
        owner,
        "select round(avg(unique_visitors), 2)::text from marts.stats_daily "
        "where client_id = 'acme' and date >= '2026-01-01' and date < %s",
        TODAY,
    )
    assert float(person.figure("visitors")) == pytest.approx(float(visitors))


def test_figures_that_are_not_of_today_say_so_before_all_others(
    somebody: Callable[..., Person],
) -> None:
    person = somebody("acme")
    page = person.opens("overview")
    expect(page.locator("#old")).to_contain_text("built as of 2026-01-31 12:00 UTC")
    page.clock.set_fixed_time(NOON + timedelta(days=1, hours=23))
    person.opens("overview")
    expect(page.locator("#old")).to_be_hidden()
    page.clock.set_fixed_time(NOON + timedelta(days=3))
    person.opens("overview")
    expect(page.locator("#old")).to_contain_text("3 days ago")


def test_a_shared_address_shows_the_same_range_and_filters(
    somebody: Callable[..., Person],
) -> None:
    person = somebody("ann")
    page = person.opens("overview")
    assert "leads" in person.states()
    page.get_by_label("Client ID").fill("acme")
    page.get_by_label("Client ID").press("Enter")
    person.waits()
    page.get_by_label("Range").select_option("7")
    person.waits()
    assert page.url.endswith("/dashboard/overview?range=7&client_id=acme")
    assert "leads" not in person.states()
    seen = person.figure("client-leads")
    # Seven days, each with one more than the day before; two more are of the story of both tenants.
    assert int(seen) == sum(range(54, 61)) + 1

    other = somebody("ann")
    other.page.goto(page.url)
    other.waits()
    assert other.figure("client-leads") == seen
    expect(other.page.get_by_label("Client ID")).to_have_value("acme")

    page.go_back()
    person.waits()
    expect(page.get_by_label("Range")).to_have_value("30")
    assert person.figure("client-leads") != seen
    page.get_by_role("button", name="Reset").click()
    person.waits()
    assert page.url.endswith("/dashboard/overview")
    assert "leads" in person.states()


def test_tiles_say_which_filters_they_do_not_follow(somebody: Callable[..., Person]) -> None:
    person = somebody("acme")
    page = person.opens("leads?source=nobody&from=2026-01-02&through=2026-01-30")
    expect(page.locator("#leads .ignored")).to_have_text("not filtered by Source")
    assert person.states()["sources"] == "empty"
    expect(page.locator("#sources")).to_contain_text("Nothing in this period")
    expect(page.get_by_label("From", exact=True)).to_have_value("2026-01-02")
    page.get_by_label("Through", exact=True).fill("2026-01-10")
    page.get_by_label("Through", exact=True).blur()
    person.waits()
    expect(page.locator("#about-range")).to_contain_text("9 complete days")


def test_text_of_producers_is_neither_markup_nor_a_formula(
    somebody: Callable[..., Person],
) -> None:
    person = somebody("acme")
    page = person.opens("leads")
    expect(page.locator("#sources")).to_contain_text(HOSTILE)
    assert page.locator("#sources img").count() == 0
    assert f"'{HOSTILE}" in [one["source"] for one in person.csv("sources")]


@pytest.mark.deep
@pytest.mark.parametrize("reader", ["ann", "acme"])
def test_the_csv_of_every_tile_is_what_it_shows(
    somebody: Callable[..., Person], reader: str
) -> None:
    person = somebody(reader)
    page = person.opens("overview")
    compared = set()
    for name in [link.get_attribute("href") for link in page.locator("nav a").all()]:
        assert name
        person.opens(name)
        for number, (tile, state) in enumerate(person.states().items()):
            # A browser lets a page without a person's hand on it start ten downloads.
            if number % 10 == 9:
                person.opens(name)
            section = page.locator(f"#{tile}")
            if state != "ready":
                expect(section.locator(".csv")).to_be_disabled()
                continue
            rows = person.csv(tile)
            about = json.loads(section.get_attribute("data-tile") or "")
            assert_shows(section, about, rows, f"{name} {tile}")
            compared.add(about["kind"])
    assert compared >= KINDS[reader]


KINDS = {
    "ann": {"figure", "chart", "table", "bridge", "funnel", "rows", "changes", "triangle", "alerts",
            "summary"},
    "acme": {"figure", "chart", "table", "funnel", "rows", "changes"},
}  # fmt: skip


def assert_shows(
    section: Locator, about: dict[str, Any], rows: list[dict[str, str]], name: str
) -> None:
    """Fail where a tile does not show what is in its CSV, or shows something else."""
    match about["kind"]:
        case "figure":
            shown = " ".join(section.locator(".big").inner_text().split())
            assert shown == big_figure_of(about, rows[0]), name
            for before in rows[1:]:
                earlier = amount(list(before.values())[2], about["measures"][0]["unit"])
                assert f"{earlier} " in section.locator(".change").first.inner_text(), name
        case "summary":
            assert section.locator("dd").all_inner_texts() == summary_of(about, rows[0]), name
        case "alerts":
            shown = section.locator(".alerts > li").all_inner_texts()
            assert len(shown) == len(rows), name
            for text, row in zip(shown, rows, strict=True):
                for part in (row["severity"], row["title"], row["message"]):
                    assert part in text, name
                assert instant(row["created_at"]) in text, name
        case _:
            if section.locator("details").count():
                section.locator("summary").click()
            lines = section.locator("tbody").last.evaluate(
                "(body) => [...body.rows].map((row) => [...row.cells].map("
                "(cell) => cell.innerText.trim().split(/\\s+/).join(' ')))"
            )
            assert lines == lines_of(about, rows), name


def test_an_empty_tenant_is_told_that_there_is_nothing(somebody: Callable[..., Person]) -> None:
    person = somebody("stranger")
    person.opens("overview")
    assert set(person.states().values()) == {"empty"}
    expect(person.page.locator("#client-leads")).to_contain_text("Nothing in this period")


@contextmanager
def without_mart(owner: psycopg.Connection, name: str) -> Iterator[None]:
    """Take a mart away."""
    owner.execute(f"alter table marts.{name} rename to away")
    try:
        yield
    finally:
        owner.execute(f"alter table marts.away rename to {name}")


def test_what_is_not_built_says_so_alone_and_is_retried(
    somebody: Callable[..., Person], owner: psycopg.Connection
) -> None:
    person = somebody("acme")
    with without_mart(owner, "stats_daily"):
        page = person.opens("overview")
        states = person.states()
        assert {states.pop(tile) for tile in ("visitors", "visits-by-day")} == {"not_built"}
        assert set(states.values()) == {"ready"}
    expect(page.locator("#visitors")).to_contain_text("Not built yet")
    page.locator("#visitors").get_by_role("button", name="Try again").click()
    expect(page.locator("#visitors .big")).to_be_visible()
    # The browser says of every answer that is an error.
    person.faults = [one for one in person.faults if "503" not in one]


@pytest.mark.deep
def test_a_failed_check_is_said_on_the_tile(
    somebody: Callable[..., Person], owner: psycopg.Connection
) -> None:
    owner.execute(
        "insert into warehouse.check_results (check_name, source, model, severity, passed, "
        "batch_seq) values ('spoilt', 'dbt', 'analytics_daily', 'error', false, 1)"
    )
    try:
        person = somebody("acme")
        page = person.opens("overview")
        until_said = expect(page.locator("#client-leads .worth"))
        page.wait_for_timeout(1_100)
        person.opens("overview")
        until_said.to_contain_text("a check failed")
        expect(page.locator("#visitors .worth")).not_to_contain_text("a check failed")
    finally:
        owner.execute("delete from warehouse.check_results where check_name = 'spoilt'")


@pytest.mark.deep
def test_a_slow_mart_keeps_its_skeleton_while_others_show(
    somebody: Callable[..., Person], owner: psycopg.Connection
) -> None:
    person = somebody("acme")
    with psycopg.connect(url_of(owner, "postgres")) as holder:
        holder.execute("lock table marts.stats_daily in access exclusive mode")
        page = person.page
        page.goto(f"{person.url}/dashboard/overview")
        expect(page.locator("#client-leads .big")).to_be_visible()
        expect(page.locator("#visitors .skeleton")).to_be_visible()
        expect(page.locator("#visitors")).to_contain_text("Still loading", timeout=8_000)
    expect(page.locator("#visitors .big")).to_be_visible()


def test_without_the_api_tiles_fail_and_are_retried(somebody: Callable[..., Person]) -> None:
    person = somebody("acme")
    page = person.opens("overview")
    page.context.set_offline(True)
    page.get_by_label("Range").select_option("7")
    person.waits()
    assert set(person.states().values()) == {"failed"}
    expect(page.locator("#client-leads")).to_contain_text("The API can't be reached.")
    page.context.set_offline(False)
    page.locator("#client-leads").get_by_role("button", name="Try again").click()
    expect(page.locator("#client-leads .big")).to_be_visible()
    assert person.states()["visitors"] == "failed"
    person.faults = [one for one in person.faults if "ERR_INTERNET_DISCONNECTED" not in one]


def test_who_is_not_signed_in_comes_back_to_where_they_were(
    somebody: Callable[..., Person], owner: psycopg.Connection, api: Api
) -> None:
    person = somebody(None)
    page = person.page
    page.goto(f"{person.url}/dashboard/traffic?range=7")
    assert violations(page) == []
    page.get_by_label("Your key").fill("read_wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("There is no such key that reads")
    key = api.new_key("brief", role="acme_app")
    page.get_by_label("Your key").fill(api.keys["brief"])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/dashboard/traffic?range=7")
    person.waits()

    key_store.revoke(owner, api.home, key)
    key_store.write_copy(owner, api.home)
    api.look()
    page.get_by_label("Range").select_option("90")
    person.waits()
    assert set(person.states().values()) == {"signed_out"}
    page.locator("#visitors").get_by_role("link", name="Sign in again").click()
    page.get_by_label("Your key").fill(api.keys["acme"])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/dashboard/traffic?range=90")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in?**")
    person.faults = [one for one in person.faults if "401" not in one]


@pytest.mark.deep
def test_what_the_plan_lacks_says_so_and_a_prefix_is_kept(
    somebody: Callable[..., Person],
    owner: psycopg.Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    changed = dict(marts())
    changed["lead_sources"] = replace(changed["lead_sources"], plans=("pro",))
    monkeypatch.setattr(service, "marts", lambda: changed)
    with served(owner, tmp_path) as api:
        with_keys_of_readers(api)
        person = somebody("acme", at=api)
        page = person.opens("leads")
        states = person.states()
        assert states.pop("sources") == "not_in_plan"
        assert set(states.values()) <= {"ready", "empty"}
        expect(page.locator("#sources")).to_contain_text("Not for your plan")
        expect(page.locator("#sources")).to_contain_text("part of the plan pro")
        person.faults = [one for one in person.faults if "403" not in one]
        page.close()


@pytest.mark.deep
def test_the_tracker_counts_views_filters_and_exports_where_it_is_configured(
    somebody: Callable[..., Person], owner: psycopg.Connection, tmp_path: Path
) -> None:
    with served(
        owner,
        tmp_path,
        WAREHOUSE_DASHBOARD_COLLECTOR_URL=COLLECTOR,
        WAREHOUSE_DASHBOARD_KEY="wk_of_the_dashboard",
    ) as api:
        with_keys_of_readers(api)
        person = somebody("acme", at=api)
        scripts = []

        def answer(route: Route) -> None:
            scripts.append(route.request.url)
            route.fulfill(content_type="text/javascript", body=STAND_IN)

        page = person.page
        page.route(f"{COLLECTOR}/**", answer)
        person.opens("overview")
        page.get_by_label("Range").select_option("7")
        person.waits()
        person.csv("client-leads")
        assert page.evaluate("window.tracked") == [
            ["analytics.dashboard_view", {"view": "overview"}],
            ["analytics.filter_change", {"view": "overview", "filter": "range"}],
            ["analytics.export", {"view": "overview", "format": "csv"}],
        ]
        assert scripts == [f"{COLLECTOR}/tracker.js", f"{COLLECTOR}/consent-banner.js"]
        key = page.locator("script[data-key]").get_attribute("data-key")
        assert key == "wk_of_the_dashboard"
        expected = {f"a request to {one}" for one in scripts}
        person.faults = [one for one in person.faults if one not in expected]
        page.close()


@pytest.mark.deep
def test_everything_can_be_done_with_the_keyboard(somebody: Callable[..., Person]) -> None:
    person = somebody("acme")
    page = person.opens("overview")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the figures")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Range")).to_be_focused()
    page.keyboard.press("ArrowDown")
    person.waits()
    assert "range=90" in page.url
    stops = set()
    with page.expect_download() as download:
        for _ in range(80):
            page.keyboard.press("Tab")
            focused = page.evaluate(
                "[document.activeElement.className, "
                "document.activeElement.closest('[data-tile]')?.id ?? '', "
                "getComputedStyle(document.activeElement).outlineStyle]"
            )
            assert focused[2] != "none", focused
            stops.add(focused[1])
            if focused[0] == "stage":
                page.keyboard.press("ArrowRight")
                expect(page.locator(f"#{focused[1]} .tip strong")).to_have_text(
                    re.compile(r"\d{4}-\d{2}-\d{2}")
                )
            if focused[0].startswith("csv") and focused[1] == "client-revenue-by-day":
                page.keyboard.press("Enter")
                break
    assert download.value.suggested_filename.startswith("analytics_daily-client-revenue-by-day")
    assert set(person.states()) <= stops


@pytest.mark.deep
def test_analysts_acknowledge_and_resolve_alerts(
    somebody: Callable[..., Person], owner: psycopg.Connection
) -> None:
    person = somebody("ann")
    page = person.opens("operations")
    alerts = page.locator("#alerts .alerts > li")
    count = alerts.count()
    assert count > 0
    alerts.first.get_by_role("button", name="Acknowledge").click()
    expect(alerts.first).to_contain_text("Acknowledged by ann.")
    alerts.first.get_by_role("button", name="Resolve").click()
    expect(alerts).to_have_count(count - 1)
    expect(page.locator("#alerts .outcome")).to_contain_text("Resolved:")
    page.get_by_label("With resolved ones").check()
    expect(alerts.filter(has_text="Resolved by ann")).to_have_count(1)
    recorded = value(owner, "select count(*) from warehouse.alert_actions where taken_by = 'ann'")
    assert recorded == 2


def test_a_tenant_sees_no_page_of_the_company(somebody: Callable[..., Person]) -> None:
    person = somebody("acme")
    page = person.opens("overview")
    assert "Operations" not in page.locator("nav").inner_text()
    assert page.get_by_label("Client ID").count() == 0
    assert "rival" not in page.content()


@pytest.fixture(scope="module")
def demo() -> Iterator[tuple[str, str]]:
    with served_demo() as (address, key):
        yield address, key


@pytest.mark.deep
def test_every_page_shows_the_demo(demo: tuple[str, str], browser: Browser) -> None:
    address, key = demo
    folder = os.environ.get("WAREHOUSE_SCREENSHOTS")
    for scheme, (width, height) in (("light", (1280, 900)), ("dark", PHONE)):
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme
        )
        context.add_cookies([{"name": "warehouse_key", "value": key, "url": address}])
        person = Person(address, context)
        for one in PAGES:
            person.opens(one.name)
            # Of the demo's data these may have none.
            empty = {tile for tile, state in person.states().items() if state == "empty"}
            assert empty <= {"limits", "restatements"}, one.name
            assert set(person.states().values()) <= {"ready", "empty"}, one.name
            assert violations(person.page) == [], one.name
            page = "document.documentElement"
            below = f"{page}.scrollHeight"
            below += f" - Math.max(document.body.offsetHeight, {page}.clientHeight)"
            assert person.page.evaluate(below) <= 0, f"{one.name} goes on below its end"
            if folder and (scheme == "light" or one.name == "overview"):
                name = one.name if scheme == "light" else f"{one.name}-phone"
                person.page.wait_for_timeout(500)
                height = person.page.evaluate("document.documentElement.scrollHeight")
                person.page.screenshot(
                    path=f"{folder}/dashboard-{name}.png",
                    full_page=True,
                    clip={"x": 0, "y": 0, "width": width, "height": min(height, 2000)},
                )
        assert person.faults == []
        context.close()
