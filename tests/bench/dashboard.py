"""The dashboard: how soon each page of the demo can be used."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from playwright.sync_api import Browser

from orchestration.cli.output import step
from serving.dashboard.pages import PAGES
from tests.bench.figures import Figure, at_most, for_information
from tests.support.browser import a_browser
from tests.support.demo import served_demo

ROUNDS = 5
# When the last tile showed its figures, and the longest request, in milliseconds.
WATCH = """
    window.whenReady = new Promise((ready) => addEventListener("DOMContentLoaded", () => {
        const look = () => document.querySelector("[data-state=loading]:not([hidden])")
            ? setTimeout(look, 5) : ready(performance.now());
        look();
    }));
"""
LONGEST = "Math.max(...performance.getEntriesByType('resource').map((one) => one.duration))"


def dashboard() -> Iterator[Figure]:
    """Open every page some times, each time as for the first time."""
    step("Opening the dashboard on the demo")
    with served_demo() as (address, key), a_browser() as browser:
        times = {
            page.name: [_open(browser, address, key, page.name) for _ in range(ROUNDS + 1)][1:]
            for page in PAGES
        }
    seconds = {name: median(ready for ready, _ in found) / 1_000 for name, found in times.items()}
    longest = max(median(slowest for _, slowest in found) for found in times.values())
    slowest_page = max(seconds, key=lambda name: seconds[name])
    yield at_most(
        f"dashboard, first view of the slowest page ({slowest_page}), s", seconds[slowest_page], 1
    )
    yield at_most("its longest request, ms", longest, 200, "{:.0f}")
    yield for_information("its mean page, s", sum(seconds.values()) / len(seconds))


def _open(browser: Browser, address: str, key: str, name: str) -> tuple[float, float]:
    """Return when all tiles of a page showed their figures, and the longest request, in ms."""
    context = browser.new_context()
    context.add_cookies([{"name": "warehouse_key", "value": key, "url": address}])
    page = context.new_page()
    page.add_init_script(WATCH)
    page.goto(f"{address}/dashboard/{name}")
    ready = page.evaluate("window.whenReady")
    longest = page.evaluate(LONGEST)
    context.close()
    return ready, longest
