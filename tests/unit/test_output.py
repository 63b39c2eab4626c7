"""What commands print: tables for people, one JSON object for programs, nothing that steers."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from orchestration.cli.output import Table, emit, message, print_csv

HOSTILE = "\x1b[2J\r\x9b \u202e[red]x[/red] :smile: \\"
SHOWN = "\\x1b[2J\\r\\x9b \\u202e[red]x[/red] :smile: \\"
# On a terminal of 40 columns: the table's cells are wider.
PROGRAM = """
from orchestration.cli.output import Table, print_table
print_table(Table(("mart", "rows", "what"), [("a_name_that_is_copied", 1234567, "word " * 20)]))
"""


@dataclass(frozen=True)
class Row:
    at: datetime
    rate: Decimal


def test_a_table_in_a_pipe_is_as_wide_as_its_cells(capsys: pytest.CaptureFixture[str]) -> None:
    emit({}, Table(("name", "rows", "detail"), [("a", 1234567, "x" * 500), ("b", 1, None)]),
         json=False)  # fmt: skip
    assert capsys.readouterr().out.splitlines() == [
        f"name  {'rows':>9}  detail",
        "─" * (4 + 2 + 9 + 2 + 500),
        f"a     1,234,567  {'x' * 500}",
        "b             1  -",
    ]


def test_times_and_ages_are_short(capsys: pytest.CaptureFixture[str]) -> None:
    at = datetime(2026, 1, 31, 12, 30, 59, tzinfo=UTC)
    ages = [timedelta(minutes=119), timedelta(hours=47), timedelta(days=2)]
    emit({}, Table(("at", "age"), [(at, age) for age in ages]), json=False)
    assert [line.split("  ") for line in capsys.readouterr().out.splitlines()[2:]] == [
        ["2026-01-31 12:30", age] for age in ("119 min", "47 h", "2 d")
    ]


def test_csv_is_exact_and_keeps_every_character(capsys: pytest.CaptureFixture[str]) -> None:
    at = datetime(2026, 1, 31, 12, 30, 59, 123456, tzinfo=UTC)
    row = (at, Decimal("0.10"), None, True, {"a": [1, None]}, 'x,"y"\n' + HOSTILE)
    print_csv(["at", "rate", "none", "is_so", "json", "text"], [row])
    (header, read) = csv.reader(io.StringIO(capsys.readouterr().out, newline=""))
    assert header == ["at", "rate", "none", "is_so", "json", "text"]
    assert read == [
        at.isoformat(), "0.10", "", "true", '{"a": [1, null]}', 'x,"y"\n' + HOSTILE,
    ]  # fmt: skip


def test_a_truth_is_no_number_in_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    emit({}, Table(("name", "is_so"), [("a", True), ("b", False), ("c", None)]), json=False)
    assert [line.split() for line in capsys.readouterr().out.splitlines()[2:]] == [
        ["a", "true"], ["b", "false"], ["c", "-"],
    ]  # fmt: skip


def test_nothing_in_a_value_steers_the_terminal_or_is_read_as_markup(
    capsys: pytest.CaptureFixture[str],
) -> None:
    emit({}, Table(("what",), [(HOSTILE,)]), HOSTILE, json=False, notes=[HOSTILE])
    message(f"{HOSTILE}\nsecond line")
    out, err = capsys.readouterr()
    assert out.splitlines()[2:] == [SHOWN, SHOWN]
    assert err.splitlines() == [SHOWN, f"warehouse: {SHOWN}", "second line"]


def test_json_is_one_object_that_holds_every_value_and_steers_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    row = Row(datetime(2026, 1, 31, tzinfo=UTC), Decimal("0.5"))
    emit({"rows": [row], "text": f"{HOSTILE}é\U000e0001"}, "unseen", json=True, notes=["unseen"])
    out, err = capsys.readouterr()
    assert (out.rstrip("\n").isprintable(), "é" in out, err) == (True, True, "")
    assert json.loads(out) == {
        "rows": [{"at": "2026-01-31T00:00:00+00:00", "rate": 0.5}],
        "text": f"{HOSTILE}é\U000e0001",
    }


def test_without_rows_a_table_is_a_sentence_or_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    emit({}, Table(("a",), [], if_empty="No rows."), Table(("a",), []), json=False)
    assert capsys.readouterr().out == "No rows.\n"


def shown_on_a_terminal(**environment: str) -> str:
    main, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdout=terminal,
        env=os.environ | {"COLUMNS": "40", "TERM": "xterm"} | environment,
    )
    os.close(terminal)
    shown = b""
    while True:
        try:
            block = os.read(main, 10_000)
        except OSError:
            break
        if not block:
            break
        shown += block
    os.close(main)
    assert process.wait(60) == 0
    return shown.decode()


def test_a_terminal_gets_a_table_that_fits_and_whole_names() -> None:
    shown = shown_on_a_terminal(NO_COLOR="1")
    assert "\x1b" not in shown
    lines = shown.splitlines()
    assert max(len(line) for line in lines) <= 40
    assert lines[2].startswith("a_name_that_is_copied  1,234,567  word")
    assert "\x1b[1m" in shown_on_a_terminal()
