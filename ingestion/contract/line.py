"""Reads a line as a JSON object, and explains in one sentence why a line is rejected."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple, NoReturn

LARGEST_LINE = 262_144
DEEPEST_NESTING = 64
# In characters. Members outside the plan may have names of any length.
LONGEST_QUOTED_PATH = 200
# Limits of a number outside the plan, as written: digits before the exponent, and the exponent.
MOST_DIGITS = 40
LARGEST_EXPONENT = 308
# Limits of a number in the plan, as written; its value has a bound of its own. jsonb can store such
# numbers, and Python reads them quickly.
MOST_PLANNED_DIGITS = 4_000
LARGEST_PLANNED_EXPONENT = 4_000
# PostgreSQL stores timestamps as microseconds since this instant.
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
FIRST_TIMESTAMP = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

is_rfc3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)", re.ASCII
).fullmatch
is_json_number = re.compile(r"-?(0|[1-9][0-9]*+)(\.[0-9]++)?([eE][+-]?[0-9]++)?").fullmatch
_BRACKET, _BACKSLASH = b"[\\"
# With every digit and the point replaced by 0, too many digits show as a run of zeros.
_with_alike_digits = bytes.maketrans(b"0123456789.E", b"00000000000e")
_TOO_MANY_DIGITS = b"0" * (MOST_DIGITS + 1)
# Part of both that and _beyond_largest, and found much faster.
_MANY_DIGITS = b"0" * 16
_long_exponent = re.compile(rb"0e[+-]?000+[,}\]\s]").search
# A number that equals ±10^15 only as a double has a 1 and then 15 zeros, with or without a point.
_beyond_largest = re.compile(rb"1[0.]{15}").search
# Possessive, and an unclosed string runs to the end: no backtracking over the same bytes.
_string = re.compile(r'"(?:[^"\\]++|\\.)*+"?').sub
_brackets = re.compile(r"[\[\]{}]").findall
_lone_surrogate = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    r"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F]"
).search


class Reason(StrEnum):
    """Why a line is rejected."""

    TOO_LARGE = "too_large"
    INVALID_ENCODING = "invalid_encoding"
    INVALID_JSON = "invalid_json"
    NOT_AN_OBJECT = "not_an_object"
    UNKNOWN_FIELD = "unknown_field"
    MISSING_FIELD = "missing_field"
    UNKNOWN_EVENT = "unknown_event"
    INVALID_FIELD = "invalid_field"
    TIMESTAMP_OUT_OF_RANGE = "timestamp_out_of_range"


class Fault(NamedTuple):
    """One fault of a line: ``detail`` is a sentence that its producer can act on."""

    reason: Reason
    detail: str


class RejectError(Exception):
    """A line is rejected for a fault."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.detail)
        self.fault = fault


def has_common_format(timestamp: str) -> bool:
    """Return whether a time has the format of 2026-01-31T23:59:59.123Z, digits unchecked.

    Most times have this format. The test takes a third of the time of is_rfc3339; fromisoformat
    checks the digits afterwards.
    """
    return timestamp[4:20:3] == "--T::." and len(timestamp) == 24 and timestamp[23] == "Z"


def needs_slow_path(line: bytes) -> bool:
    """Return whether msgspec might accept a line that the contract rejects, numbers aside."""
    # `in` with an int is several times as fast as with bytes; replacing is faster than counting.
    opened = len(line) - len(line.replace(b"{", b""))
    if _BRACKET in line:
        opened += line.count(_BRACKET)
    if opened > DEEPEST_NESTING:
        return True
    if len(line) > LARGEST_LINE:
        return True
    # NUL and lone surrogates occur only as escapes; msgspec does not check values that it skips.
    return _BACKSLASH in line and (b"\\u0000" in line or b"\\ud" in line or b"\\uD" in line)


def may_hold_unbounded_number(lines: bytes) -> bool:
    """Return whether lines may contain a number that exceeds a bound; false positives are rare.

    For all other numbers a double compares correctly with 0 and ±10^15: only numbers with too many
    digits or a long exponent need an exact comparison.
    """
    alike = lines.translate(_with_alike_digits)
    return _long_exponent(alike) is not None or (
        _MANY_DIGITS in alike and (_TOO_MANY_DIGITS in alike or _beyond_largest(lines) is not None)
    )


def read_text(line: bytes, largest: int = LARGEST_LINE) -> str:
    """Return the line's text. Raises RejectError if the line is too large or not UTF-8."""
    if len(line) > largest:
        reject(
            Reason.TOO_LARGE,
            f"the line has {len(line):,} bytes; at most {largest:,} are accepted",
        )
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        reject(
            Reason.INVALID_ENCODING,
            f"expected UTF-8, got byte 0x{line[error.start]:02x} at byte {error.start + 1}",
        )


def parse_object(text: str, *, is_exact: bool = False) -> dict[str, Any]:
    """Return the line's JSON object. Raises RejectError if it is not JSON or not an object.

    A whole number such as 100.0 is read as int. Any other number is read as a float that compares
    correctly with every whole number or, with ``is_exact``, as a Decimal. A number beyond any bound
    is read as infinity, which no member accepts.
    """
    read_number = exact_number if is_exact else _number
    try:
        if _nesting(text) > DEEPEST_NESTING:
            reject(Reason.INVALID_JSON, f"nested deeper than {DEEPEST_NESTING} levels")
        content = json.loads(
            text, parse_constant=_refuse_constant, parse_int=read_number, parse_float=read_number
        )
    except json.JSONDecodeError as error:
        reject(Reason.INVALID_JSON, f"{error.msg} at character {error.pos + 1}")
    if _lone_surrogate(text.replace("\\\\", " ")):
        reject(
            Reason.INVALID_JSON, "contains a lone surrogate (half of a pair such as \\ud83d\\ude00)"
        )
    if not isinstance(content, dict):
        reject(Reason.NOT_AN_OBJECT, f"expected an object, got {type_name(content)}")
    return content


def _refuse_constant(name: str) -> NoReturn:
    reject(Reason.INVALID_JSON, f"{name} is not JSON")


def exact_number(literal: str) -> int | float | Decimal:
    """Read a JSON number: a whole number such as 100.0 as int, one beyond any bound as infinity."""
    if not _is_bounded(literal, MOST_PLANNED_DIGITS, LARGEST_PLANNED_EXPONENT):
        return math.inf
    number = Decimal(literal)
    # An int may have as many digits as a number without exponent; 0 may have any exponent (0e999).
    if not number or (number.adjusted() < MOST_DIGITS and number == number.to_integral_value()):
        return int(number)
    return number


def _number(literal: str) -> int | float:
    """Read a JSON number; one that is not whole becomes a float that is not whole either."""
    number = exact_number(literal)
    if not isinstance(number, Decimal):
        return number
    nearest = float(number)
    if nearest.is_integer() and nearest != number:
        return math.nextafter(nearest, math.inf if number > nearest else -math.inf)
    return nearest


def _is_bounded(literal: str, most_digits: int, largest_exponent: int) -> bool:
    """Return whether a number is written within these limits of digits and exponent."""
    mantissa, _, exponent = literal.lower().partition("e")
    size = exponent.lstrip("+-").lstrip("0") or "0"
    return (
        sum(map(str.isdigit, mantissa)) <= most_digits
        and len(size) <= len(str(largest_exponent))
        and int(size) <= largest_exponent
    )


def _nesting(text: str) -> int:
    """Return how deeply objects and lists are nested; the text need not be valid JSON."""
    deepest = depth = 0
    for bracket in _brackets(_string("", text)):
        depth += 1 if bracket in "{[" else -1
        deepest = max(deepest, depth)
    return deepest


class _Members(list[tuple[str, Any]]):
    """All members of an object, including those that a later member of the same name replaces."""


class _Literal(str):
    """A number as written."""


# The path to a part of a line as linked steps, None for the whole line. Texts would be copied at
# every level.
_Steps = tuple["_Steps", str | int] | None


def _texts(content: Any) -> Iterator[tuple[_Steps, str]]:
    """Yield (steps, text) of every string, name and number in a parsed line, in order."""
    open_parts = [iter([(None, content)])]
    while open_parts:
        for steps, part in open_parts[-1]:
            if isinstance(part, str):
                yield steps, part
            elif isinstance(part, list):
                open_parts.append(_parts(steps, part))
                break
        else:
            open_parts.pop()


def _parts(steps: _Steps, whole: list[Any]) -> Iterator[tuple[_Steps, Any]]:
    if isinstance(whole, _Members):
        for name, value in whole:
            yield (steps, name), name
            yield (steps, name), value
    else:
        for index, value in enumerate(whole):
            yield (steps, index), value


def _path(steps: _Steps) -> str:
    parts: list[str] = []
    while steps is not None:
        steps, step = steps
        parts.append(f"[{step}]" if isinstance(step, int) else f".{step}")
    return "$" + "".join(reversed(parts))


def refuse_unstorable(text: str, is_planned: Callable[[str], bool]) -> None:
    """Raise RejectError if an object contains NUL or a number that jsonb can't store.

    ``is_planned`` returns whether a path such as ``$.context.sequence`` is a number in the plan.
    Like jsonb, this reads the whole text, including members that a later member of the same name
    replaces.
    """
    if "\\u0000" not in text and not may_hold_unbounded_number(text.encode()):
        return
    content = json.loads(text, object_pairs_hook=_Members, parse_int=_Literal, parse_float=_Literal)
    for steps, found in _texts(content):
        if not isinstance(found, _Literal):
            if "\0" in found:
                refuse_nul(_path(steps), found)
        elif not _is_bounded(found, MOST_DIGITS, LARGEST_EXPONENT):
            bounds, path = (MOST_DIGITS, LARGEST_EXPONENT), _path(steps)
            if is_planned(path):
                bounds = MOST_PLANNED_DIGITS, LARGEST_PLANNED_EXPONENT
            if not _is_bounded(found, *bounds):
                reject(
                    Reason.INVALID_FIELD,
                    f"{_quoted_path(path)}: expected a number of at most {bounds[0]:,} digits and "
                    f"an exponent within ±{bounds[1]:,}, got {truncated(found)}",
                )


def _quoted_path(path: str) -> str:
    """Return a path in one printable line; names in it may be of any length and hold anything."""
    return truncated(json.dumps(path, ensure_ascii=False)[1:-1], LONGEST_QUOTED_PATH)


def refuse_nul(path: str, text: str) -> None:
    """Raise RejectError if a string contains NUL."""
    if "\0" in text:
        reject(
            Reason.INVALID_FIELD, f"{_quoted_path(path)}: a string must not contain NUL (\\u0000)"
        )


def read_instant(timestamp: str) -> int:
    """Return the microseconds since EPOCH. Raises RejectError if it is not an RFC 3339 time."""
    expected = "expected an RFC 3339 time with offset, such as 2026-01-31T23:59:59.123Z"
    if not is_rfc3339(timestamp):
        reject(Reason.INVALID_FIELD, f"$.timestamp: {expected}, got {quoted(timestamp)}")
    # RFC 3339 allows the year 0000, Python does not: 2000, which has the same days, replaces it.
    is_year_0 = timestamp.startswith("0000")
    try:
        instant = datetime.fromisoformat(
            f"2000{timestamp[4:]}".upper() if is_year_0 else timestamp.upper()
        )
    except ValueError as error:
        reject(
            Reason.INVALID_FIELD, f"$.timestamp: {expected}, got {truncated(timestamp)} ({error})"
        )
    if is_year_0:
        reject(
            Reason.TIMESTAMP_OUT_OF_RANGE,
            "$.timestamp: the year 0000 is before every time that is accepted, "
            f"got {truncated(timestamp)}",
        )
    return since_epoch(instant)


def since_epoch(instant: datetime) -> int:
    """Return the microseconds from EPOCH to ``instant``, which has a time zone."""
    return (instant - EPOCH) // _MICROSECOND


def reject(reason: Reason, detail: str) -> NoReturn:
    """Raise RejectError."""
    raise RejectError(Fault(reason, detail))


def quoted(value: Any) -> str:
    """Return a value for a detail: truncated and in one line."""
    if isinstance(value, dict | list | None | bool):
        return type_name(value)
    return truncated(json.dumps(value) if isinstance(value, str) else str(value))


def truncated(text: str, longest: int = 60) -> str:
    """Return a text, shortened to ``longest`` characters."""
    return text if len(text) <= longest else text[: longest - 3] + "…"


def type_name(value: Any) -> str:
    """Return the name of a JSON value's type."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
    return "null" if value is None else names.get(type(value), "a number")
