"""The suites as files: whole, understood, in step with the plan, and readable by people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from expectations import checks
from expectations.checks import ROWS, SEVERITIES, SUITES_DIR, CheckError, load_suite


def content(name: str) -> dict[str, Any]:
    return json.loads((SUITES_DIR / f"{name}.json").read_bytes())


def expectations() -> list[Any]:
    return [
        pytest.param(expectation, id=f"{name}.{expectation['meta']['check']}")
        for name in ROWS
        for expectation in content(name)["expectations"]
    ]


def test_every_file_is_a_suite_that_runs() -> None:
    assert {path.stem for path in SUITES_DIR.glob("*.json")} == set(ROWS)


@pytest.mark.parametrize("name", ROWS)
def test_a_suite_is_read_as_great_expectations_would_write_it(name: str) -> None:
    written = load_suite(name).to_json_dict()
    read = content(name)
    assert written["name"] == read["name"] == name
    for one in written["expectations"]:
        assert one.pop("description") == one["meta"]["sentence"]
    assert written["expectations"] == read["expectations"]


@pytest.mark.parametrize("expectation", expectations())
def test_every_expectation_has_a_sentence_and_a_severity(expectation: dict[str, Any]) -> None:
    sentence = expectation["meta"]["sentence"]
    assert sentence[0].isupper() or sentence.startswith("updated_at")
    assert sentence.endswith(".")
    assert expectation["severity"] in SEVERITIES


@pytest.mark.parametrize("name", ROWS)
def test_no_two_expectations_of_a_suite_share_a_name(name: str) -> None:
    names = [expectation["meta"]["check"] for expectation in content(name)["expectations"]]
    assert len(names) == len(set(names))


def test_an_expectation_of_an_unknown_type_is_refused_instead_of_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = content("platform_stats")
    suite["expectations"][0]["type"] = "expect_no_such_thing"
    (tmp_path / "platform_stats.json").write_text(json.dumps(suite))
    monkeypatch.setattr(checks, "SUITES_DIR", tmp_path)
    with pytest.raises(CheckError, match=r"platform_stats\.json"):
        load_suite("platform_stats")
