"""A real browser for tests of pages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
# As a machine without a screen needs it; and nothing calls home.
OPTIONS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@contextmanager
def a_browser(*, with_page_cache: bool = False) -> Iterator[Browser]:
    """Give a browser; skip the test where there is none, except in CI.

    ``with_page_cache``: pages that are left are kept as they are, for going back, as people's
    browsers do.
    """
    if CHROMIUM is None:
        missing = "Chromium is not installed (Debian: apt-get install chromium)"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=OPTIONS,
            ignore_default_args=["--disable-back-forward-cache"] if with_page_cache else None,
        )
        yield browser
        browser.close()
