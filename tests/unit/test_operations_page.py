"""docs/operations.md has an entry for each job, check, notification and alert that can come."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from ingestion.sources import database_metrics
from warehouse.settings import PROJECT_DIR, Settings

PAGE = (PROJECT_DIR / "docs" / "operations.md").read_text("utf-8")
# What Dagster knows; a test compares it with Dagster.
DEFINITIONS = (PROJECT_DIR / "tests" / "end_to_end" / "definitions.txt").read_text("utf-8")
UNIT = (PROJECT_DIR / "deploy" / "warehouse.service").read_text("utf-8")


def section(title: str) -> str:
    """Return the text under a heading, to the next one of its level or above."""
    level = re.search(rf"^(#+) {re.escape(title)}$", PAGE, re.M)
    assert level, f"there is no heading {title!r}"
    rest = PAGE[level.end() :]
    end = re.search(rf"^#{{1,{len(level[1])}}} ", rest, re.M)
    return rest[: end.start()] if end else rest


def entries(text: str) -> set[str]:
    """Return what the rows of a text's tables are about: the code in their first cells."""
    cells = re.findall(r"^\| ([^|]*) \|", text, re.M)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def defined(kind: str) -> set[str]:
    """Return the names of all jobs or checks."""
    return {line.split()[-1] for line in DEFINITIONS.splitlines() if line.startswith(f"{kind} ")}


def events_reported() -> set[str]:
    """Return the events of all notifications: the second argument of each RunEvent."""
    found = set()
    for path in (PROJECT_DIR / "orchestration").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "RunEvent":
                found.add(ast.literal_eval(node.args[1]))
    return found


def alerts() -> set[str]:
    """Return the titles of alerts, as far as they are the same for all."""
    mart = PROJECT_DIR / "dbt_project" / "models" / "marts" / "operations" / "alert_history.sql"
    return {title.strip() for title in re.findall(r"'([^']+)' as title", mart.read_text("utf-8"))}


def checks() -> set[str]:
    """Return the names of all checks, with those that there are only where sources are set up."""
    named = set()
    for path in (PROJECT_DIR / "orchestration" / "definitions").glob("*.py"):
        named |= set(re.findall(r'^\w+_CHECK = "(\w+)"$', path.read_text("utf-8"), re.M))
    assert len(named) > 3
    return named | defined("check")


def test_every_job_has_an_entry() -> None:
    assert len(defined("job")) > 5
    assert entries(section("When a job fails")) == defined("job") | {"pull_SOURCE"}


def test_every_check_has_an_entry_and_none_is_of_one_that_is_gone() -> None:
    assert len(checks()) > 40
    assert entries(section("When a check fails")) == checks()


def test_every_notification_has_an_entry() -> None:
    assert len(events_reported()) > 4
    assert entries(section("Notifications")) == events_reported() | {"digest"}


def refusals() -> list[str]:
    """Return the text of each reason for which the row is not exported."""
    path = PROJECT_DIR / "orchestration" / "operations" / "export.py"
    return [
        "".join(
            part.value
            for part in ast.walk(node)
            if isinstance(part, ast.Constant) and isinstance(part.value, str)
        )
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Raise)
        and node.exc is not None
        and ast.unparse(node.exc).startswith(("ExportBlockedError(", "ExportTargetError(f"))
    ]


def test_every_refusal_of_the_export_has_an_entry() -> None:
    assert len(refusals()) == 8
    known = entries(section("When the export is refused"))
    assert [text for text in refusals() if not any(part in text for part in known)] == []
    assert [part for part in known if not any(part in text for text in refusals())] == []


def test_every_alert_has_an_entry() -> None:
    assert len(alerts()) == 2
    assert entries(section("Alerts of the API and of users")) >= alerts()


def test_every_metric_is_described() -> None:
    queried = re.findall(r"as (\w+)", database_metrics._METRICS)
    of_database = set(queried) - {"hits", "reads", "a", "t", "r", "d"} | {"cache_hit_ratio"}
    of_machine = {"cpu_usage", "memory_usage", "disk_free_bytes", "load_average", "spool_bytes"}
    assert entries(section("What is measured")) >= of_database | of_machine


def test_every_setting_that_it_names_exists() -> None:
    named = set(re.findall(r"WAREHOUSE_([A-Z_]+)", PAGE + UNIT))
    assert named <= {name.upper() for name in Settings.model_fields}


@pytest.mark.parametrize("path", re.findall(r"\]\(([^)#:]+)[^)]*\)", PAGE))
def test_what_it_links_to_exists(path: str) -> None:
    assert (PROJECT_DIR / "docs" / path).exists()


def test_the_unit_runs_the_command_that_is_installed() -> None:
    commands = re.findall(r"^Exec\w+=-?(\S+) (\w+)", UNIT, re.M)
    assert [Path(path).name for path, _ in commands] == ["warehouse", "warehouse"]
    assert [command for _, command in commands] == ["serve", "stop"]
