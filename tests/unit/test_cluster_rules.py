"""The project's SQL keeps the rules of a cluster; those of models are in test_cluster.py."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.cluster_rules import EVENTS, RULES, broken_rules
from warehouse.schema.access import roles
from warehouse.schema.cluster import REFERENCE_TABLES
from warehouse.schema.functions import FUNCTIONS
from warehouse.settings import PROJECT_DIR

DISTRIBUTED = {EVENTS, "marts.chat_events", "intermediate.int_events"}
# Function, rule: why it may.
EXCEPTIONS = {
    ("set_locally.sql", "set local among other statements"): "the one place that sets",
}


def _files() -> list[Path]:
    """Return the files of SQL that run in the warehouse's database."""
    folders = ("warehouse", "orchestration", "expectations", "serving")
    return sorted(path for folder in folders for path in (PROJECT_DIR / folder).rglob("*.sql"))


@pytest.mark.parametrize("name", RULES)
def test_each_rule_finds_what_a_cluster_refuses_and_not_what_works(name: str) -> None:
    assert list(broken_rules(RULES[name].refused, DISTRIBUTED)) == [name]
    assert broken_rules(RULES[name].works, DISTRIBUTED) == {}


@pytest.mark.parametrize("path", _files(), ids=lambda path: path.stem)
def test_the_sql_of_functions_tables_grants_and_python_keeps_the_rules(path: Path) -> None:
    found = broken_rules(path.read_text("utf-8"), DISTRIBUTED)
    assert {name for name in found if (path.name, name) not in EXCEPTIONS} == set(), found


def test_sql_within_python_keeps_the_rule_on_subqueries_and_settings() -> None:
    wrong = re.compile(r"exists \(select from|set_config\('warehouse\.")
    packages = ("warehouse", "ingestion", "expectations", "orchestration", "serving")
    assert [
        path.name
        for package in packages
        for path in (PROJECT_DIR / package).rglob("*.py")
        if wrong.search(path.read_text("utf-8"))
    ] == []


def test_policies_of_reference_tables_ask_no_subquery() -> None:
    text = (roles.ACCESS / "policies.sql").read_text("utf-8")
    policies = re.findall(r"create policy [^;]*", text)
    assert len(policies) > 3
    for policy in policies:
        table = re.search(r"\bon (\S+)", policy)
        assert table is not None
        if table[1] in REFERENCE_TABLES:
            assert "select " not in policy.partition("using")[2]


def test_what_policies_ask_is_parsed_when_it_is_created() -> None:
    """Its readers may not use the schema of what it reads, by name."""
    for name in ("my_client", "my_user", "sees_client"):
        assert "begin atomic" in (FUNCTIONS / "warehouse" / f"{name}.sql").read_text("utf-8")
