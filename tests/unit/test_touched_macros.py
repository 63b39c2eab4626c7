"""The SQL in macros of touched cells is linted too; sqlfluff itself skips the bodies of macros."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

import pytest
from sqlfluff.core import FluffConfig, Linter

from warehouse.settings import PROJECT_DIR

FOLDER = PROJECT_DIR / "dbt_project" / "macros" / "touched"
MACRO = re.compile(r"\{%-? macro (\w+)\(.*?\) -?%\}\n(.*?)\{%-? endmacro", re.DOTALL)
# Rules of writing. Others need to know what an expression of Jinja yields.
RULES = ", ".join(
    (
        "capitalisation", "layout.spacing", "layout.commas", "layout.operators",
        "layout.long_lines", "aliasing.table", "aliasing.column", "convention.not_equal",
    )
)  # fmt: skip


def bodies() -> Iterator[tuple[str, str]]:
    """Yield each macro's name and body."""
    for path in sorted(FOLDER.glob("*.sql")):
        yield from MACRO.findall(path.read_text("utf-8"))


def violations(body: str) -> list[str]:
    """Return what the linter finds in a body, each expression of Jinja read as a name."""
    text = textwrap.dedent(body)
    text = re.sub(r"\{#.*?#\}", "", text, flags=re.DOTALL)
    text = re.sub(r"^\s*(\{%[^%]*%\}|\{\{ 'group by.*\}\})\s*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"\{\{.*?\}\}", "jinja", text, flags=re.DOTALL).strip() + "\n"
    config = FluffConfig(
        overrides={
            "dialect": "postgres",
            "templater": "raw",
            "rules": RULES,
            "max_line_length": 100,
            "ignore": "parsing",
        }
    )
    lines = text.splitlines()
    return [
        f"{found.rule_code()} {found.desc()}: {lines[found.line_no - 1]}"
        for found in Linter(config=config).lint_string(text).get_violations()
        # What an expression yields beside or above is not known.
        if not any("jinja" in line for line in lines[max(found.line_no - 2, 0) : found.line_no])
    ]


@pytest.mark.parametrize("name", [name for name, _ in bodies()])
def test_the_sql_of_a_touched_macro_follows_the_linters_rules(name: str) -> None:
    assert violations(dict(bodies())[name]) == []


@pytest.mark.parametrize(
    "body",
    ["    SELECT client_id from new_rows\n", "    select client_id,date from   new_rows\n"],
)
def test_the_linter_sees_a_fault_in_a_body(body: str) -> None:
    assert violations(body)
