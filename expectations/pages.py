"""The pages of Great Expectations' Data Docs, so that they work without the network.

The library's own pages load style sheets and scripts from other servers: without them the home is
empty, and every visit is reported there. Here these are replaced by two small files of the
project's own, and the home by a table of runs. Each folder of pages has the runs of suites that ran
together; the page above them lists the latest run of every suite.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from warehouse import private_files

SITE = Path(__file__).parent / "site"
STATIC = ("style.css", "page.js")
# What a folder's runs are kept in, for the page above.
RUNS = "runs.json"

_SCRIPTS = re.compile(r"<script\b.*?</script>", re.DOTALL)
_LINKS = re.compile(r"<link\b[^>]*>")
_FOOTER = re.compile(r"<footer\b.*?</footer>", re.DOTALL)
_LOGO = re.compile(r"<img\s+class=\"NO-CACHE\".*?/>", re.DOTALL)
# The style sheet of the library names its logo on another server.
_IN_STYLES = re.compile(r"""url\(["']?https?://[^)]*\)""")


@dataclass(frozen=True, slots=True)
class Run:
    """A run of a suite: its name, what it found, and its page within the folder of its runs."""

    name: str
    suite: str
    model: str
    checks: int
    failed: int
    checked_at: str
    page: str = ""
    suite_page: str = ""


def run_of(name: str, suite: str, model: str, results: Sequence[bool], at: datetime) -> Run:
    """Return a run that has no page yet, from whether each check passed."""
    moment = f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    return Run(name, suite, model, len(results), results.count(False), moment)


def finish(made: Path, runs: Sequence[Run]) -> None:
    """Make the pages that Great Expectations has written work without the network, and the home."""
    # Pictures and fonts of the pages' own walk-through.
    shutil.rmtree(made / "static")
    for page in made.rglob("*.html"):
        page.write_text(_offline(page, made), "utf-8")
    for name in STATIC:
        shutil.copyfile(SITE / name, made / name)
    placed = [_placed(run, made) for run in runs]
    (made / RUNS).write_text(json.dumps([asdict(run) for run in placed]), "utf-8")
    _write_home(made / "index.html", "Checks that ran together", placed, up="../index.html")


def write_overview(folder: Path) -> None:
    """Write the page above all folders of runs: the latest run of every suite."""
    latest: dict[str, Run] = {}
    for file in folder.glob(f"*/{RUNS}"):
        for kept in json.loads(file.read_bytes()):
            run = _below(Run(**kept), quote(file.parent.name))
            if run.suite not in latest or run.checked_at > latest[run.suite].checked_at:
                latest[run.suite] = run
    for name in STATIC:
        shutil.copyfile(SITE / name, folder / name)
    runs = sorted(latest.values(), key=lambda run: (-run.failed, run.suite))
    _write_home(folder / "index.html", "Checks", runs)
    for name in (*STATIC, "index.html"):
        private_files.restrict_to_owner(folder / name)


def _offline(page: Path, made: Path) -> str:
    text = page.read_text("utf-8")
    for unwanted in (_SCRIPTS, _LINKS, _FOOTER):
        text = unwanted.sub("", text)
    text = _LOGO.sub("Checks", _IN_STYLES.sub("none", text))
    up = "../" * (len(page.relative_to(made).parts) - 1)
    own = f'<link rel="stylesheet" href="{up}style.css"><script src="{up}page.js" defer></script>'
    return text.replace("</head>", f"{own}</head>", 1)


def _placed(run: Run, made: Path) -> Run:
    """Return a run with the addresses of its pages."""
    (page,) = (made / "validations" / run.suite).rglob("*.html")
    return replace(
        run,
        page=quote(page.relative_to(made).as_posix()),
        suite_page=quote(f"expectations/{run.suite}.html"),
    )


def _below(run: Run, folder: str) -> Run:
    return replace(run, page=f"{folder}/{run.page}", suite_page=f"{folder}/{run.suite_page}")


def _write_home(page: Path, title: str, runs: Sequence[Run], up: str | None = None) -> None:
    from jinja2 import Environment

    # Names of runs and suites are text, never HTML.
    template = Environment(autoescape=True).from_string((SITE / "home.html.j2").read_text("utf-8"))
    page.write_text(template.render(title=title, runs=runs, up=up), "utf-8")
