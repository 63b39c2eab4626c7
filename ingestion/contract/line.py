"""Reads one line as a JSON object, and says in a sentence what is wrong with one that is none."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, NoReturn

LARGEST_LINE = 262_144
DEEPEST_NESTING = 64
# Members that the plan does not name have names of any length; more of a path helps nobody.
LONGEST_SHOWN_PATH = 200
# Of a number outside the plan as it is written: all digits before the exponent, and that.
MOST_DIGITS = 40
LARGEST_EXPONENT = 308
# One of the plan is bounded by its value; so much of it jsonb holds, and Python reads at once.
MOST_PLANNED_DIGITS = 4_000
LARGEST_PLANNED_EXPONENT = 4_000
# PostgreSQL counts its timestamps in microseconds from here.
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
FIRST_TIMESTAMP = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

is_rfc3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)", re.ASCII
).fullmatch
is_json_number = re.compile(r"-?(0|[1-9][0-9]*+)(\.[0-9]++)?([eE][+-]?[0-9]++)?").fullmatch
_BRACKET, _BACKSLASH = b"[\\"
# With all digits alike, and the point as one, a number of too many digits holds so many zeros.
_with_alike_digits = bytes.maketrans(b"0123456789.E", b"00000000000e")
_TOO_MANY_DIGITS = b"0" * (MOST_DIGITS + 1)
_long_exponent = re.compile(rb"0e[+-]?000+[,}\]\s]").search
# A number that only a double takes for ±10^15 has 15 zeros behind the 1, with the point or without.
_HALF_OF_THE_ZEROS = b"0" * 8
_beyond_largest = re.compile(rb"1[0.]{15}").search
# Possessive, and to the end where the string has none: never a second look at the same bytes.
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


class RejectError(Exception):
    """A line is refused: ``reason``, and ``detail``, a sentence that its producer can act on."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def is_commonly_written(timestamp: str) -> bool:
    """Tell whether a time is written as in 2026-01-31T23:59:59.123Z, if those are digits.

    Most are: it takes a third of the time that is_rfc3339 takes, and fromisoformat sees to digits.
    """
    return timestamp[4:20:3] == "--T::." and len(timestamp) == 24 and timestamp[23] == "Z"


def is_unusual(line: bytes) -> bool:
    """Tell whether msgspec might take a line that the contract refuses, numbers aside."""
    # A byte given as a number is sought several times as fast as one given as bytes, and taking
    # all of one out is faster than counting them.
    opened = len(line) - len(line.replace(b"{", b""))
    if _BRACKET in line:
        opened += line.count(_BRACKET)
    if opened > DEEPEST_NESTING:
        return True
    if len(line) > LARGEST_LINE:
        return True
    # NUL and lone surrogates can only come as escapes; what msgspec skips it does not look at.
    return _BACKSLASH in line and (b"\\u0000" in line or b"\\ud" in line or b"\\uD" in line)


def may_hold_unbounded_number(lines: bytes) -> bool:
    """Tell whether objects may hold a number out of bounds; few strings look as if they did.

    Of the others a double says truly on which side of 0 and ±10^15 they lie: too little for that
    is only what has too many digits or a long exponent.
    """
    alike = lines.translate(_with_alike_digits)
    return (
        _TOO_MANY_DIGITS in alike
        or _long_exponent(alike) is not None
        or (_HALF_OF_THE_ZEROS in lines and _beyond_largest(lines) is not None)
    )


def read_text(line: bytes) -> str:
    """Return the line's text; raises RejectError where it is too large or not UTF-8."""
    if len(line) > LARGEST_LINE:
        reject(
            Reason.TOO_LARGE,
            f"the line has {len(line):,} bytes; at most {LARGEST_LINE:,} are taken",
        )
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        reject(
            Reason.INVALID_ENCODING,
            f"expected UTF-8, got byte 0x{line[error.start]:02x} at {error.start + 1}",
        )


def parse_object(text: str, *, is_exact: bool = False) -> dict[str, Any]:
    """Return the line's JSON object; whole numbers such as 100.0 are read as int.

    Any other number is read as a float on its side of every whole number, or as a Decimal where it
    is to be exact, and one beyond any bound as infinity, which no member takes. Raises RejectError
    where it is no JSON, or no object.
    """
    read_number = exact_number if is_exact else _number
    try:
        if _nesting(text) > DEEPEST_NESTING:
            reject(Reason.INVALID_JSON, f"nested deeper than {DEEPEST_NESTING}")
        content = json.loads(
            text, parse_constant=_refuse_constant, parse_int=read_number, parse_float=read_number
        )
    except json.JSONDecodeError as error:
        reject(Reason.INVALID_JSON, f"{error.msg} at character {error.pos + 1}")
    if _lone_surrogate(text.replace("\\\\", " ")):
        reject(Reason.INVALID_JSON, "a lone surrogate (half of a pair such as \\ud83d\\ude00)")
    if not isinstance(content, dict):
        reject(Reason.NOT_AN_OBJECT, f"expected an object, got {type_name(content)}")
    return content


def _refuse_constant(name: str) -> NoReturn:
    reject(Reason.INVALID_JSON, f"{name} is not JSON")


def exact_number(literal: str) -> int | float | Decimal:
    """Read a number of JSON: 100.0 as the int that it is, infinity where it is beyond any bound."""
    if not _is_bounded(literal, MOST_PLANNED_DIGITS, LARGEST_PLANNED_EXPONENT):
        return math.inf
    number = Decimal(literal)
    # As many digits as a whole number may have without an exponent; 0 has none, be it 0e999.
    if not number or (number.adjusted() < MOST_DIGITS and number == number.to_integral_value()):
        return int(number)
    return number


def _number(literal: str) -> int | float:
    """Read what is no whole number as a float that is none either."""
    number = exact_number(literal)
    if not isinstance(number, Decimal):
        return number
    nearest = float(number)
    if nearest.is_integer() and nearest != number:
        return math.nextafter(nearest, math.inf if number > nearest else -math.inf)
    return nearest


def _is_bounded(literal: str, most_digits: int, largest_exponent: int) -> bool:
    """Tell whether a number is written with no more digits and no larger exponent than that."""
    mantissa, _, exponent = literal.lower().partition("e")
    size = exponent.lstrip("+-").lstrip("0") or "0"
    return (
        sum(map(str.isdigit, mantissa)) <= most_digits
        and len(size) <= len(str(largest_exponent))
        and int(size) <= largest_exponent
    )


def _nesting(text: str) -> int:
    """Return how deep objects and lists are nested in each other, be the text JSON or not."""
    deepest = depth = 0
    for bracket in _brackets(_string("", text)):
        depth += 1 if bracket in "{[" else -1
        deepest = max(deepest, depth)
    return deepest


class _Members(list[tuple[str, Any]]):
    """An object's members, those included that a later namesake replaces."""


class _Literal(str):
    """A number as it is written."""


# The way to a part of a line: of the whole line it is None. As text it would be copied for each.
_Way = tuple["_Way", str | int] | None


def _texts(content: Any) -> Iterator[tuple[_Way, str]]:
    """Yield (way, text) of every string, name and number in a parsed line, in its order."""
    open_parts = [iter([(None, content)])]
    while open_parts:
        for way, part in open_parts[-1]:
            if isinstance(part, str):
                yield way, part
            elif isinstance(part, list):
                open_parts.append(_parts(way, part))
                break
        else:
            open_parts.pop()


def _parts(way: _Way, whole: list[Any]) -> Iterator[tuple[_Way, Any]]:
    if isinstance(whole, _Members):
        for name, value in whole:
            yield (way, name), name
            yield (way, name), value
    else:
        for index, value in enumerate(whole):
            yield (way, index), value


def _path(way: _Way) -> str:
    steps: list[str] = []
    while way is not None:
        way, step = way
        steps.append(f"[{step}]" if isinstance(step, int) else f".{step}")
    return "$" + "".join(reversed(steps))


def refuse_unstorable(text: str, is_planned: Callable[[str], bool]) -> None:
    """Raise RejectError where an object holds NUL, or a number out of bounds.

    ``is_planned`` tells whether a path such as ``$.context.sequence`` is a number of the plan.
    jsonb reads all of the text, and so does this: members that a later namesake replaces, too.
    """
    if "\\u0000" not in text and not may_hold_unbounded_number(text.encode()):
        return
    content = json.loads(text, object_pairs_hook=_Members, parse_int=_Literal, parse_float=_Literal)
    for way, found in _texts(content):
        if not isinstance(found, _Literal):
            if "\0" in found:
                refuse_nul(_path(way), found)
        elif not _is_bounded(found, MOST_DIGITS, LARGEST_EXPONENT):
            bounds, path = (MOST_DIGITS, LARGEST_EXPONENT), _path(way)
            if is_planned(path):
                bounds = MOST_PLANNED_DIGITS, LARGEST_PLANNED_EXPONENT
            if not _is_bounded(found, *bounds):
                reject(
                    Reason.INVALID_FIELD,
                    f"{_shown_path(path)}: expected a number of at most {bounds[0]:,} digits and "
                    f"an exponent within ±{bounds[1]:,}, got {clipped(found)}",
                )


def _shown_path(path: str) -> str:
    """Show a path, whose names may be of any length and hold anything."""
    return clipped(json.dumps(path, ensure_ascii=False)[1:-1], LONGEST_SHOWN_PATH)


def refuse_nul(path: str, text: str) -> None:
    """Raise RejectError where a string holds NUL."""
    if "\0" in text:
        reject(Reason.INVALID_FIELD, f"{_shown_path(path)}: a string must not hold NUL (\\u0000)")


def read_instant(timestamp: str) -> int:
    """Return the microseconds since EPOCH; raises RejectError where it is no RFC 3339 time."""
    expected = "expected an RFC 3339 time with offset, such as 2026-01-31T23:59:59.123Z"
    if not is_rfc3339(timestamp):
        reject(Reason.INVALID_FIELD, f"$.timestamp: {expected}, got {shown(timestamp)}")
    # A year of RFC 3339, but none of Python's: 2000, which has the same days, stands in for it.
    is_year_0 = timestamp.startswith("0000")
    try:
        instant = datetime.fromisoformat(
            f"2000{timestamp[4:]}".upper() if is_year_0 else timestamp.upper()
        )
    except ValueError as error:
        reject(Reason.INVALID_FIELD, f"$.timestamp: {expected}, got {clipped(timestamp)} ({error})")
    if is_year_0:
        reject(
            Reason.TIMESTAMP_OUT_OF_RANGE,
            "$.timestamp: the year 0000 is before every time that is taken, "
            f"got {clipped(timestamp)}",
        )
    return since_epoch(instant)


def since_epoch(instant: datetime) -> int:
    """Return the microseconds from EPOCH to ``instant``, which has a time zone."""
    return (instant - EPOCH) // _MICROSECOND


def reject(reason: Reason, detail: str) -> NoReturn:
    """Raise RejectError."""
    raise RejectError(reason, detail)


def shown(value: Any) -> str:
    """Show a value in a detail: clipped, with nothing in it that breaks a line."""
    if isinstance(value, dict | list | None | bool):
        return type_name(value)
    return clipped(json.dumps(value) if isinstance(value, str) else str(value))


def clipped(text: str, longest: int = 60) -> str:
    """Cut a text that is too long to be quoted."""
    return text if len(text) <= longest else text[: longest - 3] + "…"


def type_name(value: Any) -> str:
    """Name a JSON value's type."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
    return "null" if value is None else names.get(type(value), "a number")
