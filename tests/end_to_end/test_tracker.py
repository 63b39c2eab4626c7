"""The tracker in a real browser, on a site of several pages, against the real collector.

Each test compares what the site did with what landed: `staging.raw_events`, by event and page or
form, and the sequence numbers of each producer.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from ingestion.contract.tracking_plan import tracking_plan
from tests.conftest import DEEP, Server
from tests.support.browser import a_browser
from tests.support.processes import until
from tests.support.site import Network, Site, network, site
from tests.support.webhook import free_port
from warehouse import key_store
from warehouse.keys import KeyKind
from warehouse.settings import PROJECT_DIR, settings

CLIENT = "acme"
DIST = PROJECT_DIR / "tracker" / "dist"
# The collector, but that events land sooner than they do by default.
COLLECTOR = (
    sys.executable,
    "-c",
    "import sys; from ingestion.collector import supervisor; "
    "supervisor.collect('127.0.0.1', int(sys.argv[1]), 1, 0.3)",
)
# How long the tracker collects a batch, in seconds, with some time to send it.
BATCH = 3.0
SENT = BATCH + 0.7
FORGED_CLOCK = """(() => {
  const Real = Date, offset = %d;
  window.Date = class extends Real {
    constructor(...given) { given.length ? super(...given) : super(Real.now() + offset); }
    static now() { return Real.now() + offset; }
  };
})()"""
FORBIDDEN = """for (const name of ["localStorage", "indexedDB"]) {
  Object.defineProperty(window, name, { get() { throw new DOMException("no", "SecurityError"); } });
}"""


@dataclass
class Stage:
    """The site, the network to the collector, a person's browser, and what has landed."""

    site: Site
    network: Network
    context: BrowserContext
    warehouse: psycopg.Connection
    before: set[Any]
    # What the browser reported on its console, and the exceptions that reached pages.
    console: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def open(self, path: str = "/a", *, agrees: bool = False) -> Page:
        """Open a page in a tab of its own; ``agrees``: and opt in."""
        page = self.context.new_page()
        page.on("console", lambda message: self.console.append(message.text))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.goto(self.site.url + path)
        if agrees:
            page.evaluate("warehouse.consent(true)")
        return page

    def events(self) -> list[dict[str, Any]]:
        """Return what has landed since the test began, in the order of the events."""
        rows = self.warehouse.execute(
            "select event_id, event, timestamp, actor, context, properties from staging.raw_events "
            "where client_id = %s order by timestamp, (context->>'sequence')::int",
            (CLIENT,),
        )
        names = ("event_id", "event", "timestamp", "actor", "context", "properties")
        return [dict(zip(names, row, strict=True)) for row in rows if row[0] not in self.before]

    def lands(self, *expected: str, seconds: float = 20) -> list[dict[str, Any]]:
        """Wait until exactly this has landed, each once; return it."""
        wanted = Counter(expected)

        def landed() -> Counter[str]:
            return Counter(label(event) for event in self.events())

        deadline = time.monotonic() + seconds
        while landed() != wanted and time.monotonic() < deadline:
            time.sleep(0.1)
        assert landed() == wanted
        assert self.errors == []
        return self.events()

    def stored(self, page: Page) -> tuple[list[str], list[str]]:
        """Return what a page of the site finds in storage: names of items, of databases."""
        return tuple(
            page.evaluate(
                "async () => [Object.keys(localStorage), "
                "(await indexedDB.databases()).map((one) => one.name)]"
            )
        )


def label(event: dict[str, Any]) -> str:
    """Return what a test calls an event: its page, or its form."""
    if event["event"] == "page_view":
        return event["context"]["page"]["path"]
    return (event.get("properties") or {}).get("form", event["event"])


def submit(page: Page, *forms: str, **more: Any) -> None:
    """Track a form for each name."""
    page.evaluate(
        "([forms, more]) => forms.forEach("
        "(form) => warehouse.track('contact_submitted', { form, ...more }))",
        [forms, more],
    )


def gaps(events: list[dict[str, Any]]) -> int:
    """Return how many sequence numbers are missing, over all producers; each begins with 0."""
    numbers = defaultdict(list)
    for event in events:
        numbers[event["context"]["producer"]].append(event["context"]["sequence"])
    for used in numbers.values():
        assert len(used) == len(set(used))
    return sum(max(used) + 1 - len(used) for used in numbers.values())


def producers(events: list[dict[str, Any]]) -> set[str]:
    return {event["context"]["producer"] for event in events}


@dataclass(frozen=True)
class Collecting:
    """A running collector: where it listens, the home and the database that it uses."""

    address: tuple[str, int]
    warehouse: psycopg.Connection


@pytest.fixture(scope="module")
def collecting(
    servers: Callable[[int], Server], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Collecting]:
    """A collector of the module's own, with a database and a home."""
    server = servers(18)
    url = server.new_database()
    home = tmp_path_factory.mktemp("home")
    with server.environment(url), pytest.MonkeyPatch.context() as patch:
        patch.setenv("WAREHOUSE_HOME", str(home))
        settings.cache_clear()
        with collector(home) as port, psycopg.connect(url, autocommit=True) as connection:
            yield Collecting(("127.0.0.1", port), connection)
    settings.cache_clear()
    server.drop_database(url)


@contextmanager
def collector(home: Path, port: int = 0) -> Iterator[int]:
    """Run a collector; give its port."""
    log = home / f"log {port}"
    with log.open("wb") as errors:
        process = subprocess.Popen([*COLLECTOR, str(port)], stderr=errors, cwd=home)
    try:
        until(lambda: b"http://" in log.read_bytes(), 30, "the collector listens")
        yield int(log.read_text().split("http://127.0.0.1:")[1].split(",")[0])
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def script(path: str) -> bytes | None:
    """Return a script that the site serves itself."""
    return (
        (DIST / path[1:]).read_bytes() if path in {"/consent-banner.js", "/tracker.mjs"} else None
    )


@pytest.fixture(scope="module")
def places(collecting: Collecting) -> Iterator[tuple[Site, Network]]:
    """The site and its network, with a key for it."""
    with network(collecting.address) as between, site(between.url, script) as served:
        made = key_store.create(
            collecting.warehouse,
            settings().home,
            KeyKind.BROWSER,
            client=CLIENT,
            origins=[served.url],
        )
        served.key = made.key
        yield served, between


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with a_browser(with_page_cache=True) as started:
        yield started


@pytest.fixture
def stage(
    collecting: Collecting, places: tuple[Site, Network], browser: Browser
) -> Iterator[Stage]:
    """The stage of one test: a new person's browser, an intact network."""
    served, between = places
    served.consent, served.headers, served.banner = "required", {}, None
    between.requests.clear()
    known = {
        row[0] for row in collecting.warehouse.execute("select event_id from staging.raw_events")
    }
    context = browser.new_context()
    try:
        yield Stage(served, between, context, collecting.warehouse, known)
    finally:
        context.close()
        # Some of what pages have sent at their end is still on its way.
        time.sleep(0.2)
        between.answers, between.largest, between.lost_answers = [], None, 0
        between.down()
        between.up()


# Consent


def test_nothing_is_stored_or_sent_before_the_opt_in_and_all_of_it_after(stage: Stage) -> None:
    page = stage.open("/a")
    submit(page, "one")
    asked_at = datetime.now(UTC)
    time.sleep(SENT)
    assert stage.network.tries == []
    assert stage.stored(page) == ([], [])
    assert stage.context.cookies() == []
    assert page.evaluate("warehouse.consent()") is None
    page.evaluate("warehouse.consent(true)")
    submit(page, "two")
    # The next page knows.
    page.goto(stage.site.url + "/b")
    page.close()
    events = stage.lands("/a", "one", "two", "/b")
    # Each with the time at which it happened.
    assert [event["timestamp"] < asked_at for event in events] == [True, True, False, False]
    assert [event["context"]["sequence"] for event in events[:3]] == [0, 1, 2]
    assert all(event["context"]["consent"] == {"analytics": True} for event in events)
    assert len({event["actor"]["anonymous_id"] for event in events}) == 1
    assert gaps(events) == 0
    assert stage.console == []


@pytest.mark.deep
def test_who_declines_or_leaves_without_an_answer_leaves_nothing_behind(stage: Stage) -> None:
    page = stage.open("/a")
    submit(page, "before leaving")
    page.goto(stage.site.url + "/b")
    submit(page, "before declining")
    page.evaluate("warehouse.consent(false)")
    submit(page, "after declining")
    page.evaluate("warehouse.identify('ann')")
    assert page.evaluate("warehouse.consent()") is False
    page.evaluate("history.pushState({}, '', '/c')")
    time.sleep(SENT)
    assert stage.stored(page) == ([], [])
    page.close()
    assert stage.network.tries == []
    # Who thinks better of it later is tracked from then on.
    page = stage.open("/d", agrees=True)
    stage.lands("/d")


@pytest.mark.deep
def test_a_withdrawal_forgets_the_ids_and_empties_the_queue_in_all_tabs(stage: Stage) -> None:
    first = stage.open("/a", agrees=True)
    second = stage.open("/b")
    events = stage.lands("/a", "/b")
    stage.context.set_offline(True)
    submit(first, "first")
    submit(second, "second")
    first.evaluate("warehouse.consent(false)")
    until(lambda: second.evaluate("warehouse.consent()") is False)
    submit(second, "third")
    stage.context.set_offline(False)
    time.sleep(SENT)
    assert stage.stored(first) == ([], [])
    first.evaluate("warehouse.consent(true)")
    submit(first, "anew")
    until(lambda: second.evaluate("warehouse.consent()"))
    submit(second, "anew")
    again = stage.lands("/a", "/b", "anew", "anew")[2:]
    for member in ("anonymous_id", "user_id"):
        old = {event["actor"].get(member) for event in events} - {None}
        assert not old & {event["actor"].get(member) for event in again}
    assert not producers(events) & producers(again)


@pytest.mark.deep
@pytest.mark.parametrize(
    "signal_of_the_browser",
    ["globalPrivacyControl: { get: () => true }", "doNotTrack: { get: () => '1' }"],
)
def test_a_browser_that_refuses_for_all_sites_is_obeyed(
    stage: Stage, signal_of_the_browser: str
) -> None:
    # The person has opted in before they told their browser.
    stage.open("/a", agrees=True)
    stage.lands("/a")
    stage.context.add_init_script(
        f"Object.defineProperties(Navigator.prototype, {{ {signal_of_the_browser} }})"
    )
    stage.network.requests.clear()
    for served in stage.context.pages:
        served.close()
    for consent in ("required", "given"):
        stage.site.consent = consent
        page = stage.open("/b")
        page.evaluate("warehouse.consent(true)")
        page.evaluate("warehouse.identify('ann')")
        submit(page, "one")
        assert page.evaluate("warehouse.consent()") is False
        assert stage.stored(page) == ([], [])
        page.close()
    time.sleep(1)
    assert stage.network.tries == []
    stage.lands("/a")


@pytest.mark.deep
def test_a_site_that_has_asked_already_says_so(stage: Stage) -> None:
    stage.site.consent = "given"
    page = stage.open("/a")
    assert page.evaluate("warehouse.consent()") is True
    stage.lands("/a")


# Identity


@pytest.mark.deep
def test_ids_last_until_they_are_reset_and_sessions_until_half_an_hour_without_a_view(
    stage: Stage,
) -> None:
    page = stage.open("/a")
    page.evaluate("warehouse.identify('ann')")
    page.evaluate("warehouse.consent(true)")
    page.goto(stage.site.url + "/b")
    seen_ago = "person.viewed -= %d * 60_000"
    change = (
        "() => { const person = JSON.parse(localStorage['wh.person']); %s; "
        "localStorage['wh.person'] = JSON.stringify(person); }"
    )
    page.evaluate(change % seen_ago % 29)
    submit(page, "same session")
    page.evaluate(change % seen_ago % 2)
    submit(page, "next session")
    page.evaluate("warehouse.reset()")
    submit(page, "nobody")
    events = stage.lands("/a", "/b", "same session", "next session", "nobody")
    assert [event["actor"].get("user_id") for event in events] == [*["ann"] * 4, None]
    visitors = [event["actor"]["anonymous_id"] for event in events]
    assert [len(set(visitors[:4])), len(set(visitors))] == [1, 2]
    sessions = [event["context"]["session_id"] for event in events]
    assert [len(set(sessions[:n])) for n in range(1, 6)] == [1, 1, 1, 2, 3]


# Page views


def test_each_change_of_the_path_is_one_view(stage: Stage) -> None:
    page = stage.open("/a?utm_source=news&utm_campaign=spring#part", agrees=True)
    page.evaluate("history.pushState({}, '', '/b?x=1#y'); document.title = 'B'")
    page.evaluate("history.pushState({}, '', '/b?x=2')")
    page.evaluate("history.replaceState({}, '', '/b?x=3')")
    page.evaluate("location.hash = 'z'")
    page.evaluate("history.replaceState({}, '', '/c')")
    page.evaluate("history.back()")
    page.wait_for_url("**/b?x=3")
    page.evaluate("history.go(-2)")
    page.wait_for_url("**/a?*")
    page.evaluate("history.forward()")
    page.wait_for_url("**/b?*")
    submit(page, "one")
    events = stage.lands("/a", "/b", "/c", "/b", "/a", "/b", "one")
    assert [label(event) for event in events] == ["/a", "/b", "/c", "/b", "/a", "/b", "one"]
    pages = [event["context"]["page"] for event in events]
    campaign = {"source": "news", "name": "spring"}
    assert [event["context"].get("campaign") for event in events[:2]] == [campaign, None]
    url = stage.site.url
    assert pages[0] == {
        "url": f"{url}/a?utm_source=news&utm_campaign=spring",
        "path": "/a",
        "title": "Page /a",
    }
    assert pages[1] == {"url": f"{url}/b?x=1", "path": "/b", "title": "B"}


@pytest.mark.deep
def test_a_page_that_is_shown_again_from_the_cache_is_a_view(stage: Stage) -> None:
    page = stage.open("/a", agrees=True)
    page.evaluate("addEventListener('pageshow', (event) => { window.shown = event.persisted })")
    submit(page, "one")
    stage.lands("/a", "one")
    page.evaluate("location.href = '/b'")
    page.wait_for_url("**/b")
    stage.lands("/a", "one", "/b")
    page.go_back(wait_until="commit")
    until(lambda: page.evaluate("window.shown"))
    submit(page, "two")
    stage.lands("/a", "one", "/b", "/a", "two")
    page.go_forward(wait_until="commit")
    events = stage.lands("/a", "one", "/b", "/a", "two", "/b")
    referrers = [event["context"]["page"].get("referrer") for event in events]
    assert referrers == [None, None, f"{stage.site.url}/a", None, None, None]
    assert gaps(events) == 0
    # Pages that leave give their numbers to the next.
    assert len(producers(events)) == 1


# The network


@pytest.mark.deep
def test_what_happens_offline_is_sent_when_the_connection_is_back(stage: Stage) -> None:
    page = stage.open("/a", agrees=True)
    stage.lands("/a")
    stage.network.requests.clear()
    stage.context.set_offline(True)
    submit(page, "one")
    page.evaluate("history.pushState({}, '', '/b')")
    time.sleep(SENT)
    assert stage.network.tries == []
    assert [label(event) for event in stage.events()] == ["/a"]
    stage.context.set_offline(False)
    events = stage.lands("/a", "one", "/b", seconds=2.5)
    assert gaps(events) == 0


@pytest.mark.deep
def test_a_collector_that_is_down_loses_nothing_and_doubles_nothing(stage: Stage) -> None:
    page = stage.open("/a", agrees=True)
    stage.lands("/a")
    # It takes events but its answer is lost; then it answers errors; then nothing listens.
    stage.network.lost_answers = 1
    stage.network.answers = []
    submit(page, "one", "two")
    until(lambda: any(one.status == 0 for one in stage.network.batches))
    stage.network.answers = [(500, {}), (502, {})]
    until(lambda: stage.network.answers == [], 30)
    stage.network.down()
    submit(page, "three")
    time.sleep(1)
    page.close()
    stage.network.up()
    again = stage.open("/b")
    events = stage.lands("/a", "one", "two", "three", "/b", seconds=30)
    assert gaps(events) == 0
    attempts = [
        [event["event_id"] for event in batch.events if label(event) == "one"]
        for batch in stage.network.batches
    ]
    used = [ids[0] for ids in attempts if ids]
    assert len(used) >= 4
    assert len(set(used)) == 1
    timestamps = {
        event["timestamp"]
        for batch in stage.network.batches
        for event in batch.events
        if label(event) == "one"
    }
    assert len(timestamps) == 1
    again.close()


def test_a_page_that_is_closed_in_the_middle_of_a_batch_loses_nothing(stage: Stage) -> None:
    page = stage.open("/a", agrees=True)
    stage.lands("/a")
    forms = [f"form {number}" for number in range(100)]
    stage.network.requests.clear()
    # 100 KB: more than the browser takes for a page that is gone.
    submit(page, *forms, text="x" * 1_000)
    page.close()
    until(lambda: sum(one.status == 202 for one in stage.network.batches) >= 2)
    assert all(len(one.body) < 31_000 for one in stage.network.batches)
    # What the browser has not taken is sent from the next page, wherever the person comes back to.
    stage.open("/b")
    events = stage.lands("/a", *forms, "/b")
    assert gaps(events) == 0


@pytest.mark.deep
def test_a_page_that_is_left_at_once_loses_nothing(stage: Stage) -> None:
    page = stage.open("/a", agrees=True)
    stage.lands("/a")
    for number in range(5):
        page.goto(f"{stage.site.url}/{number}", wait_until="domcontentloaded")
        submit(page, f"form {number}")
    page.close()
    stage.open("/b")
    expected = [name for number in range(5) for name in (f"/{number}", f"form {number}")]
    events = stage.lands("/a", *expected, "/b")
    assert gaps(events) == 0


@pytest.mark.deep
def test_batches_leave_at_thirty_events_or_thirty_kilobytes(stage: Stage) -> None:
    page = stage.open("/a", agrees=True)
    stage.lands("/a")
    stage.network.requests.clear()
    few = [f"few {number}" for number in range(29)]
    submit(page, *few)
    time.sleep(BATCH - 1)
    assert stage.network.batches == []
    submit(page, "thirtieth")
    until(lambda: stage.network.batches, 0.9)
    large = [f"large {number}" for number in range(4)]
    submit(page, *large, text="é" * 4_000)
    until(lambda: len(stage.network.batches) >= 3, 0.9)
    stage.lands("/a", *few, "thirtieth", *large)
    assert [len(one.events) for one in stage.network.batches] == [30, 3, 1]


@pytest.mark.deep
def test_a_batch_that_is_too_large_is_split(stage: Stage) -> None:
    stage.network.largest = 4
    page = stage.open("/a", agrees=True)
    forms = [f"form {number}" for number in range(20)]
    submit(page, *forms)
    events = stage.lands("/a", *forms)
    assert gaps(events) == 0
    assert [one.status for one in stage.network.batches][:4] == [413, 413, 413, 202]


@pytest.mark.deep
@pytest.mark.parametrize("form", ["seconds", "date"])
def test_the_collector_says_when_to_try_again_and_a_reload_keeps_to_it(
    stage: Stage, form: str
) -> None:
    until_then = datetime.now(UTC) + timedelta(seconds=BATCH + 8)
    wished = "8" if form == "seconds" else f"{until_then:%a, %d %b %Y %H:%M:%S GMT}"
    stage.network.answers = [(429, {"Retry-After": wished})]
    page = stage.open("/a", agrees=True)
    until(lambda: stage.network.batches)
    refused = stage.network.batches[0]
    page.goto(stage.site.url + "/b")
    # Neither a reload nor a network that comes back shortens the pause.
    stage.context.set_offline(True)
    stage.context.set_offline(False)
    page.reload()
    stage.lands("/a", "/b", "/b")
    pause = stage.network.batches[1].at - refused.at
    assert pause > (7.5 if form == "seconds" else 6)
    # Nothing was asked in between, not even the time.
    assert [one.at for one in stage.network.tries if refused.at < one.at < refused.at + 6] == []


@pytest.mark.deep
def test_a_page_can_read_when_the_collector_wants_it_to_try_again(stage: Stage) -> None:
    made = key_store.create(
        stage.warehouse,
        settings().home,
        KeyKind.BROWSER,
        client=CLIENT,
        origins=[stage.site.url],
        per_minute=2,
    )
    page = stage.open("/a?bare")
    page.evaluate(
        """async ([url, key]) => {
          const { init } = await import("/tracker.mjs");
          init({ url, key, consent: "given" });
        }""",
        [stage.network.url, made.key],
    )
    submit(page, "one", "two")
    until(lambda: [one.status for one in stage.network.batches] == [429])
    until(lambda: page.evaluate("JSON.parse(localStorage['wh.backoff'] ?? '[]')[2]"), 5)


@pytest.mark.deep
def test_a_blocked_collector_costs_few_tries_and_the_page_nothing(stage: Stage) -> None:
    page = stage.open("/a")
    stage.network.down()
    tries: list[float] = []
    ours = (f"{stage.network.url}/health", f"{stage.network.url}/api/track")
    page.on("request", lambda one: one.url in ours and tries.append(time.monotonic()))
    page.evaluate("warehouse.consent(true)")
    for number in range(10):
        submit(page, f"form {number}")
        page.wait_for_timeout(1_000)
        # The tracker itself comes from the browser's cache.
        page.reload()
    assert 2 <= len(tries) <= 6
    assert all(later - sooner >= 0.95 for sooner, later in pairwise(tries))
    stage.network.up()
    expected = ["/a", *[name for number in range(10) for name in (f"form {number}", "/a")]]
    events = stage.lands(*expected, seconds=60)
    assert gaps(events) == 0
    # The browser reports failed requests by itself; the tracker adds nothing.
    assert all("Failed to load resource" in line for line in stage.console)


@pytest.mark.deep
def test_a_policy_that_blocks_the_collector_costs_few_tries(stage: Stage) -> None:
    stage.site.headers = {
        "Content-Security-Policy": f"default-src 'none'; script-src {stage.network.url}"
    }
    page = stage.open("/a", agrees=True)
    page.wait_for_timeout(8_000)
    assert stage.network.tries == []
    assert 1 <= len(stage.console) <= 8
    stage.site.headers = {}
    page.goto(stage.site.url + "/b")
    stage.lands("/a", "/b")


@pytest.mark.deep
def test_it_works_with_a_strict_content_security_policy(stage: Stage) -> None:
    stage.site.banner = 'data-policy="/privacy"'
    collector = stage.network.url
    stage.site.headers = {
        "Content-Security-Policy": f"default-src 'none'; script-src 'self' {collector}; "
        f"connect-src {collector}; require-trusted-types-for 'script'"
    }
    page = stage.open("/a")
    page.get_by_role("button", name="Agree").click()
    submit(page, "one")
    stage.lands("/a", "one")
    assert stage.console == []


# Storage


@pytest.mark.deep
def test_forbidden_storage_does_not_stop_it(stage: Stage) -> None:
    stage.context.add_init_script(FORBIDDEN)
    page = stage.open("/a", agrees=True)
    submit(page, "one")
    page.goto(stage.site.url + "/b")
    assert page.evaluate("warehouse.consent()") is None
    page.evaluate("warehouse.consent(true)")
    events = stage.lands("/a", "one", "/b")
    assert gaps(events) == 0
    # Nobody can know that it was the same person, or the same program.
    assert len({event["actor"]["anonymous_id"] for event in events}) == 2
    assert len(producers(events)) == 2
    assert stage.console == []


@pytest.mark.deep
def test_full_storage_does_not_stop_it(stage: Stage) -> None:
    page = stage.open("/a?bare")
    page.evaluate(
        "() => { for (let size = 4_000_000; size; size = size >> 1) for (let n = 0; ; n++) "
        "try { localStorage.setItem(`${size} ${n}`, 'x'.repeat(size)) } catch { break } }"
    )
    session = stage.context.new_cdp_session(page)
    session.send("Storage.overrideQuotaForOrigin", {"origin": stage.site.url, "quotaSize": 1})
    page.goto(stage.site.url + "/a")
    page.evaluate("warehouse.consent(true)")
    submit(page, "one", "two")
    page.evaluate("history.pushState({}, '', '/b')")
    events = stage.lands("/a", "one", "two", "/b")
    assert gaps(events) == 0
    assert len({event["actor"]["anonymous_id"] for event in events}) == 1


@pytest.mark.deep
def test_without_a_database_the_queue_is_in_local_storage(stage: Stage) -> None:
    stage.context.add_init_script(FORBIDDEN.replace('"localStorage", ', ""))
    page = stage.open("/a", agrees=True)
    stage.lands("/a")
    stage.network.down()
    submit(page, "one", "two")
    page.close()
    stage.network.up()
    stage.open("/b")
    events = stage.lands("/a", "one", "two", "/b")
    assert gaps(events) == 0
    assert len(producers(events)) == 1


@pytest.mark.deep
def test_a_full_queue_drops_the_oldest_and_reports_how_many(stage: Stage) -> None:
    page = stage.open("/a", agrees=True)
    stage.lands("/a")
    stage.context.set_offline(True)
    # 800 KB, of which 500 are kept.
    forms = [f"form {number}" for number in range(400)]
    submit(page, *forms, text="x" * 1_400)
    stage.context.set_offline(False)
    until(lambda: len(stage.events()) > 200, 30)
    until(lambda: label(stage.events()[-1]) == forms[-1], 30)
    time.sleep(1)
    events = stage.events()
    kept = [label(event) for event in events[1:]]
    assert kept == forms[-len(kept) :]
    assert 200 < len(kept) < 400
    dropped = sum(event["context"].get("dropped", 0) for event in events)
    assert dropped == 400 - len(kept) == gaps(events)


@pytest.mark.deep
@pytest.mark.parametrize("status", [400, 401, 403, 415])
def test_what_the_collector_refuses_for_good_is_given_up_and_reported(
    stage: Stage, status: int
) -> None:
    stage.network.answers = [(status, {})]
    page = stage.open("/a", agrees=True)
    submit(page, "one", "two")
    until(lambda: stage.network.answers == [])
    submit(page, "three")
    page.reload()
    events = stage.lands("three", "/a")
    assert sum(event["context"].get("dropped", 0) for event in events) == gaps(events) == 3


@pytest.mark.deep
def test_an_event_that_is_too_large_is_reported_and_stops_no_other(stage: Stage) -> None:
    page = stage.open("/a", agrees=True)
    submit(page, "huge", text="x" * 600_000)
    submit(page, "one")
    events = stage.lands("/a", "one")
    assert sum(event["context"].get("dropped", 0) for event in events) == gaps(events) == 1


@pytest.mark.deep
def test_a_browser_without_locks_or_keepalive_loses_and_doubles_nothing(stage: Stage) -> None:
    stage.context.add_init_script(
        "Object.defineProperty(Navigator.prototype, 'locks', { value: undefined });"
        "delete Request.prototype.keepalive"
    )
    page = stage.open("/a", agrees=True)
    other = stage.open("/b")
    stage.lands("/a", "/b")
    submit(page, "one")
    page.goto(stage.site.url + "/c")
    # The beacon has brought it; nobody was told, so that the next page sends it again.
    stage.lands("/a", "/b", "one", "/c")
    stage.network.down()
    submit(page, "two")
    submit(other, "three")
    page.close()
    stage.network.up()
    stage.open("/d")
    events = stage.lands("/a", "/b", "one", "/c", "two", "three", "/d", seconds=40)
    assert gaps(events) == 0
    assert len(producers(events)) == 4


# Tabs


@pytest.mark.deep
def test_two_tabs_number_their_events_apart_and_one_takes_over_what_the_other_left(
    stage: Stage,
) -> None:
    first = stage.open("/a", agrees=True)
    second = stage.open("/b")
    stage.lands("/a", "/b")
    stage.network.down()
    submit(first, "first 1", "first 2")
    submit(second, "second 1")
    time.sleep(1)
    first.close()
    time.sleep(1)
    stage.network.up()
    expected = ["/a", "/b", "first 1", "first 2", "second 1"]
    # Nobody opens a page: the tab that is still there looks for what others have left.
    events = stage.lands(*expected, seconds=40)
    assert len(producers(events)) == 2
    assert len({event["actor"]["anonymous_id"] for event in events}) == 1
    assert len({event["context"]["session_id"] for event in events}) == 1
    # A later tab goes on with the numbers that are free.
    stage.open("/c")
    events = stage.lands(*expected, "/c")
    assert len(producers(events)) == 2
    assert gaps(events) == 0


@pytest.mark.deep
def test_many_tabs_that_come_and_go_use_each_number_once(stage: Stage) -> None:
    expected = ["/0"]
    pages = [stage.open("/0", agrees=True)]
    for number in range(1, 12):
        pages.append(stage.open(f"/{number}"))
        submit(pages[-1], f"form {number}")
        expected += [f"/{number}", f"form {number}"]
        if number % 3 == 0:
            pages.pop(0).close()
            pages[0].reload()
            expected.append(pages[0].url.removeprefix(stage.site.url))
    events = stage.lands(*expected, seconds=40)
    assert gaps(events) == 0
    assert len({event["actor"]["anonymous_id"] for event in events}) == 1


# The clock


@pytest.mark.parametrize("hours", [2, DEEP(-26), DEEP(30)])
def test_a_clock_that_is_wrong_is_corrected_before_the_first_attempt(
    stage: Stage, hours: int
) -> None:
    stage.context.add_init_script(FORGED_CLOCK % (hours * 3_600_000))
    began = datetime.now(UTC)
    page = stage.open("/a", agrees=True)
    stage.network.lost_answers = 1
    submit(page, "one")
    until(lambda: stage.network.batches and stage.network.batches[0].status == 0)
    page.goto(stage.site.url + "/b")
    events = stage.lands("/a", "one", "/b", seconds=30)
    for event in events:
        assert began - timedelta(seconds=1) < event["timestamp"] < datetime.now(UTC)
        assert event["context"]["clock_skew_seconds"] == pytest.approx(hours * 3_600, abs=2)
    assert gaps(events) == 0
    sent = {
        (event["event_id"], event["timestamp"])
        for batch in stage.network.batches
        for event in batch.events
    }
    assert len(sent) == 3


@pytest.mark.deep
def test_what_a_wrong_clock_has_stamped_offline_is_corrected_on_a_later_page(stage: Stage) -> None:
    stage.context.add_init_script(FORGED_CLOCK % 7_200_000)
    page = stage.open("/a")
    stage.network.down()
    began = datetime.now(UTC)
    page.evaluate("warehouse.consent(true)")
    submit(page, "one")
    time.sleep(0.5)
    page.close()
    stage.network.up()
    stage.open("/b")
    for event in stage.lands("/a", "one", "/b", seconds=30):
        assert began - timedelta(seconds=5) < event["timestamp"] < datetime.now(UTC)


@pytest.mark.deep
def test_a_clock_that_is_off_by_little_is_left_alone(stage: Stage) -> None:
    stage.context.add_init_script(FORGED_CLOCK % 240_000)
    stage.open("/a", agrees=True)
    (event,) = stage.lands("/a")
    assert event["timestamp"] - datetime.now(UTC) > timedelta(seconds=200)
    assert "clock_skew_seconds" not in event["context"]


# The page


@pytest.mark.deep
def test_each_event_that_pages_may_send_lands(stage: Stage) -> None:
    samples = {"string": "x", "integer": 1, "number": 1.5}
    sent = {
        name: {
            member: samples[described.type]
            for member, described in event.properties.items()
            if described.type in samples
        }
        for name, event in tracking_plan().events.items()
        if event.browser and name != "page_view"
    }
    assert {"session", "signup", "builder_action", "analytics.export"} <= set(sent)
    page = stage.open("/a", agrees=True)
    page.evaluate(
        "(sent) => Object.entries(sent).forEach(([name, properties]) => "
        "warehouse.track(name, properties, { unit_id: 'u1' }))",
        sent,
    )
    page.close()
    events = stage.lands("/a", *(given.get("form", name) for name, given in sent.items()))
    assert {event["event"]: event["properties"] or {} for event in events[1:]} == sent
    assert {event["actor"]["unit_id"] for event in events[1:]} == {"u1"}


@pytest.mark.deep
def test_nothing_that_a_page_does_makes_it_throw(stage: Stage) -> None:
    page = stage.open("/a", agrees=True)
    page.evaluate(
        """() => {
          const circle = {}; circle.circle = circle;
          warehouse.track("contact_submitted", circle);
          warehouse.track("contact_submitted", { form: 1n });
          warehouse.track();
          warehouse.identify(circle);
          warehouse.consent("no");
          warehouse.reset();
          localStorage["wh.person"] = "{";
        }"""
    )
    stage.network.answers = [(202, {})]
    page.reload()
    page.evaluate("warehouse.consent(true)")
    page.evaluate(
        """() => {
          fetch = () => { throw new Error("no") };
          warehouse.track("contact_submitted", { form: "kept" });
          JSON.stringify = null;
          warehouse.track("contact_submitted", { form: "lost" });
        }"""
    )
    time.sleep(SENT)
    assert stage.errors == []


@pytest.mark.deep
def test_a_page_that_is_rendered_ahead_counts_when_it_is_shown(stage: Stage) -> None:
    stage.open("/a", agrees=True)
    stage.lands("/a")
    stage.network.requests.clear()
    stage.context.add_init_script(
        "Object.defineProperty(document, 'prerendering', { get: () => !window.isShown })"
    )
    page = stage.open("/b")
    submit(page, "one")
    page.wait_for_timeout(1_000 * SENT)
    assert stage.network.tries == []
    page.evaluate("isShown = true; document.dispatchEvent(new Event('prerenderingchange'))")
    events = stage.lands("/a", "/b", "one")
    assert gaps(events) == 0


@pytest.mark.deep
def test_it_is_a_module_as_well_and_starts_once(stage: Stage) -> None:
    page = stage.open("/a?bare")
    page.evaluate(
        """async ([url, key]) => {
          const { init } = await import("/tracker.mjs");
          const options = { url, key, source: "marketing_site" };
          const one = init(options), other = init(options);
          one.consent(true);
          other.track("contact_submitted", { form: "one" });
        }""",
        [stage.network.url, stage.site.key],
    )
    events = stage.lands("/a", "one")
    assert [event["context"]["source"] for event in events] == ["marketing_site"] * 2


# The banner


@pytest.mark.deep
def test_the_banner_asks_once_with_two_equal_buttons_and_by_keyboard(stage: Stage) -> None:
    stage.site.banner = 'data-text="May we count?" data-accept="Yes" data-decline="No"'
    page = stage.open("/a")
    region = page.get_by_role("region", name="Consent to analytics")
    assert "May we count?" in region.inner_text()
    buttons = [page.get_by_role("button", name=name) for name in ("No", "Yes")]
    looks = [
        button.evaluate(
            "(b) => { const s = getComputedStyle(b); return [s.color, s.backgroundColor, s.font, "
            "s.border, b.offsetWidth, b.offsetHeight] }"
        )
        for button in buttons
    ]
    assert looks[0] == looks[1]
    # It takes no focus, and is what the keyboard reaches first.
    assert page.evaluate("document.activeElement === document.body")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("warehouse.consent()") is False
    assert region.count() == 0
    # It remembers the refusal, and nothing else; it does not ask again.
    assert stage.stored(page) == (["consent-refused"], [])
    page.goto(stage.site.url + "/b")
    assert page.evaluate("warehouse.consent()") is False
    assert region.count() == 0
    # Who changes their mind asks for it.
    page.evaluate("document.querySelector('a').dataset.consentOpen = ''")
    page.get_by_role("link", name="b").click()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("warehouse.consent()") is True
    assert page.evaluate("document.activeElement.textContent") == "b"
    page.goto(stage.site.url + "/c")
    stage.lands("/c")
    assert region.count() == 0
    assert stage.console == []


@pytest.mark.deep
def test_the_banner_moves_only_for_who_likes_motion(stage: Stage) -> None:
    stage.site.banner = ""
    page = stage.open("/a")
    animation = (
        "getComputedStyle(document.body.firstChild.shadowRoot.firstElementChild).animationName"
    )
    assert page.evaluate(animation) == "rise"
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(animation) == "none"


# The demo site


@pytest.mark.deep
def test_the_demo_site_shows_it_all(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    port = free_port()
    monkeypatch.setenv("WAREHOUSE_DEMO_SITE_KEY", key_store.demo_site_key(port))
    with collector(tmp_path, port):
        stage.site = replace(stage.site, port=port)
        page = stage.open("/demo/")
        page.get_by_role("button", name="Agree").click()
        page.get_by_role("link", name="Homes").click()
        page.get_by_role("button", name="Download plan A").click()
        page.get_by_role("link", name="Contact").click()
        page.get_by_role("button", name="Send").click()
        page.get_by_role("button", name="Sign up").click()
        page.get_by_role("link", name="Builder").click()
        page.get_by_role("link", name="Bath").click()
        page.get_by_role("button", name="Choose tiles").click()
        page.reload()
        events = stage.lands(
            "/demo/", "/demo/homes", "pdf_download", "/demo/contact", "demo", "/demo/thanks",
            "signup", "/demo/builder/kitchen", "/demo/builder/bath", "builder_action",
            "/demo/builder/bath",
        )  # fmt: skip
        assert gaps(events) == 0
        assert [event["context"].get("campaign") for event in events][1] == {
            "source": "newsletter",
            "name": "spring",
        }
        assert page.get_by_role("cell", name="202").count()
        page.get_by_role("link", name="Privacy choices").click()
        page.get_by_role("button", name="Decline").click()
        assert stage.stored(page) == (["consent-refused"], [])
        assert stage.console == []
