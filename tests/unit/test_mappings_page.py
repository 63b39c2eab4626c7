"""The examples of docs/mappings.md do what the page says."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ingestion.contract.validator import Accepted, Receipt, Validator
from ingestion.sources.mapping import ENVELOPE_COLUMNS, mapped_blocks
from warehouse.settings import PROJECT_DIR

PAGE = (PROJECT_DIR / "docs" / "mappings.md").read_text("utf-8")
RECEIPT = Receipt(datetime(2026, 8, 1, tzinfo=UTC), bytes(32), batch_id=1)
# A file of an example: its name, the language and the text of its block.
FILE = re.compile(r"^`(\S+)`\n\n```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
RESULT = re.compile(r"Result:\n\n```json\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXAMPLES = dict(
    zip(
        ("orders", "access", "messages"),
        PAGE.partition("## Three worked examples")[2].split("\n### ")[1:],
        strict=True,
    )
)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_gives_the_events_that_the_page_shows(name: str, tmp_path: Path) -> None:
    example = EXAMPLES[name]
    files = {file: text for file, _, text in FILE.findall(example)}
    assert [file.partition(".")[0] for file in files] == [name, name]
    for file, text in files.items():
        (tmp_path / file).write_text(text, "utf-8")
    source, mapping = (tmp_path / file for file in files)
    lines = b"".join(mapped_blocks(mapping, source)).splitlines()
    (shown,) = RESULT.findall(example)
    assert [json.loads(line) for line in lines] == [json.loads(one) for one in shown.splitlines()]
    outcomes = [Validator(RECEIPT).validate(line) for line in lines]
    assert [type(outcome) for outcome in outcomes] == [Accepted] * len(lines), outcomes
    assert len({outcome.key for outcome in outcomes}) == len(lines)
    assert [outcome.unknown for outcome in outcomes] == [None] * len(lines)


def test_the_page_names_every_column_that_a_mapping_may_return() -> None:
    assert [name for name in ENVELOPE_COLUMNS if f"\n| `{name}` |" not in PAGE] == []


def test_every_link_of_the_page_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", PAGE)
    local = [link for link in links if not link.startswith("http")]
    assert local
    assert [link for link in local if not (PROJECT_DIR / "docs" / link).exists()] == []
