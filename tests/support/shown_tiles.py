"""What a tile of the dashboard must show for the rows of its CSV, computed once more in Python.

`about` is the description of the tile that its script gets; rows are those of its CSV.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from itertools import groupby
from typing import Any

Row = Mapping[str, str]
NONE = "–"
# Units that a figure's number says itself, or that its label does.
_SILENT = {"count", "cents", "USD", "percent", "seconds", "milliseconds", "tokens"}


def lines_of(about: dict[str, Any], rows: Sequence[Row]) -> list[list[str]]:
    """Return the cells of the table that a tile shows."""
    match about["kind"]:
        case "rows":
            return [
                [_cell(text, about["columns"][name]) for name, text in row.items()] for row in rows
            ]
        case "changes":
            return [_change(about, row) for row in rows]
        case "triangle":
            return _triangle(rows)
        case "funnel":
            # The month is chosen above the table.
            return [
                [
                    _step(text) if name in about["by"] else _figure(about, name, text)
                    for name, text in row.items()
                    if name != "month"
                ]
                for row in rows
            ]
        case _:
            return [[_figure(about, name, text) for name, text in row.items()] for row in rows]


def big_figure_of(about: dict[str, Any], row: Row) -> str:
    """Return the number that a tile with one figure shows."""
    unit = about["measures"][0]["unit"]
    shown = amount(list(row.values())[2], unit)
    return shown if unit in _SILENT else f"{shown} {unit}"


def summary_of(about: dict[str, Any], row: Row) -> list[str]:
    """Return the figures of a summary."""
    return [amount(text, about["columns"][name]["unit"]) for name, text in row.items()]


def amount(text: str, unit: str | None) -> str:
    """Return a number of CSV as people read it in its unit."""
    if text == "":
        return NONE
    number = float(text)
    match unit:
        case "cents":
            return _dollars(number / 100)
        case "USD":
            return _dollars(number)
        case "percent":
            return f"{_rounded(number)} %"
        case "basis points":
            return f"{_rounded(number / 100)} %"
        case "seconds":
            return _duration(number)
        case "milliseconds":
            return f"{_rounded(number, 0)} ms" if number < 10_000 else _duration(number / 1_000)
        case "hours":
            return f"{_rounded(number)} h"
        case _:
            return _rounded(number)


def instant(text: str) -> str:
    """Return an instant of CSV as people read it."""
    return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _rounded(number: float, digits: int = 2) -> str:
    text = f"{_exactly(number, digits):,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _exactly(number: float, digits: int) -> Decimal:
    return Decimal(number).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)


def _dollars(number: float) -> str:
    digits = 4 if 0 < abs(number) < 1 else 2
    text = f"{abs(_exactly(number, digits)):,f}"
    # Two digits always, more where there are.
    while digits > 2 and text.endswith("0"):
        text, digits = text[:-1], digits - 1
    return f"-${text}" if number < 0 else f"${text}"


def _duration(seconds: float) -> str:
    if _exactly(seconds, 2) < 60:
        return f"{_rounded(seconds)} s"
    whole = int(_exactly(seconds, 0))
    if whole < 3_600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = int(_exactly(seconds / 60, 0))
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{_rounded(seconds / 86_400)} days"


def _text(text: str) -> str:
    """Return text without the mark of what a spreadsheet would run, as HTML shows its spaces."""
    if text[:1] == "'" and text[1:2] in set("=+-@\t\r"):
        text = text[1:]
    return " ".join(text.split()) or NONE


def _step(text: str) -> str:
    return _text(text).replace("_", " ")


def _cell(text: str, column: Mapping[str, Any]) -> str:
    if text == "":
        return NONE
    match column["type"]:
        case "jsonb":
            return " ".join(_json(text).split())
        case "timestamptz":
            return instant(text)
        case "boolean":
            return {"true": "yes", "false": "no"}[text]
        case "integer" | "bigint" | "numeric":
            return amount(text, column["unit"])
        case _:
            return _text(text)


def _json(text: str) -> str:
    # Numbers as they are written.
    value = json.loads(text, parse_float=_Written, parse_int=_Written)
    return ", ".join(f"{name}: {_json_part(one)}" for name, one in value.items())


class _Written(float):
    """A number that is written as it was."""

    def __new__(cls, text: str) -> _Written:
        made = super().__new__(cls, text)
        made.text = text
        return made

    text: str

    def __repr__(self) -> str:
        return self.text


def _json_part(value: Any) -> str:
    if isinstance(value, str | _Written):
        return str(value)
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _units(about: dict[str, Any]) -> dict[str, str]:
    """Return the unit of each column of figures by the column's name in CSV."""
    units: dict[str, str] = {}
    for one in about["measures"]:
        name = one["name"]
        if one["how"] == "ratio":
            name = one["label"].lower().replace(" ", "_")
        units[f"{name}_{one['how']}" if name in units else name] = one["unit"]
    return units


def _figure(about: dict[str, Any], column: str, text: str) -> str:
    """Return a cell of a table whose columns are figures, keys of rows or periods."""
    if column.startswith("percent_of_"):
        return amount(text, "percent")
    if column == "opening_mrr_cents":
        return amount(text, "cents")
    # Lines of a chart are named by their key and the column.
    unit = _units(about).get(column.rpartition(" ")[2])
    return _text(text) if unit is None else amount(text, unit)


def _change(about: dict[str, Any], row: Row) -> list[str]:
    unit = next(one["unit"] for one in about["measures"] if one["label"] == row["figure"])
    mark = "points" if unit == "percent" else "%"
    change = row["change_percent"]
    if change == "":
        said = NONE
    elif float(change) == 0:
        said = f"± 0 {mark}"
    else:
        sign = "▲ +" if float(change) > 0 else "▼ −"
        said = f"{sign}{_rounded(abs(float(change)))} {mark}"
    return [
        row["figure"],
        amount(row["this_period"], unit),
        amount(row["period_before"], unit),
        said,
    ]


def _triangle(rows: Sequence[Row]) -> list[list[str]]:
    most = max(int(row["month_number"]) for row in rows)
    lines = []
    for month, found in groupby(rows, lambda row: row["cohort_month"]):
        cells = [""] * (most + 1)
        for row in found:
            size = amount(row["cohort_size"], "count")
            running = "" if row["is_complete"] == "true" else " so far"
            cells[int(row["month_number"])] = amount(row["retention_rate"], "percent") + running
        lines.append([month, size, *cells])
    return lines
