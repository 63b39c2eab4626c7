"""Turns msgspec's error messages into reasons and sentences that a producer can act on."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from ingestion.contract.line import Fault, Reason, quoted, type_name
from ingestion.contract.tracking_plan import Member

MemberAt = Callable[[str], Member | None]

_error_text = re.compile(r"(?P<what>.*?)(?: - at `(?P<path>[^`]*)`)?", re.DOTALL).fullmatch
_TYPE_NAMES = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "a boolean",
    "object": "an object",
    "array": "a list",
}
_missing = re.compile(r"Object missing required field `(.*)`").fullmatch
_unknown = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL).fullmatch


def fault_of(
    error: msgspec.ValidationError, content: dict[str, Any], member_at: MemberAt, known: str
) -> tuple[Fault, tuple[str, ...]]:
    """Return the fault that msgspec found in ``content``, and the path of the member at fault.

    ``member_at`` returns the plan's member at a path such as ``$.actor.lead_id``. ``known`` lists
    the members that the object may have.
    """
    match = _error_text(str(error))
    what, path = (match["what"], match["path"] or "$") if match else (str(error), "$")
    if match := _missing(what):
        path = f"{path}.{match[1]}"
        return Fault(Reason.MISSING_FIELD, f"{path} is required but absent"), _steps(path)
    if match := _unknown(what):
        detail = f"$: unknown member {quoted(match[1])}; known members are {known}"
        return Fault(Reason.UNKNOWN_FIELD, detail), (match[1],)
    return _fault_of_value(what, path, _value_at(content, path), member_at(path)), _steps(path)


def _fault_of_value(what: str, path: str, value: Any, member: Member | None) -> Fault:
    if path == "$.event" and isinstance(value, str):
        return Fault(Reason.UNKNOWN_EVENT, f"$.event: {quoted(value)} is not in the tracking plan")
    empty = value == "" and member is not None and member.empty_is_absent
    # null means absent for a member, but is a wrong type for an item of a list.
    if (value is None and not path.endswith("]")) or empty:
        return Fault(Reason.MISSING_FIELD, f"{path} is required but {'empty' if empty else 'null'}")
    what = what[0].lower() + what[1:].partition(", got")[0]
    what = what.replace(" | null", "").removesuffix(".0")
    for code, name in _TYPE_NAMES.items():
        what = what.replace(f"`{code}", f"`{name}")
    if member is not None and member.one_of:
        what = f"expected one of {', '.join(member.one_of)}"
    # A value in place of an object or a list may contain anybody's data, so it is not quoted.
    personal = member is not None and (member.personal or member.type in ("object", "strings"))
    got = type_name(value) if personal else quoted(value)
    return Fault(Reason.INVALID_FIELD, f"{path}: {what.replace('`', '')}, got {got}")


def _steps(path: str) -> tuple[str, ...]:
    """Return the names in a path, up to the list if it leads to an item of one."""
    return tuple(path.partition("[")[0].split(".")[1:])


def _value_at(content: Any, path: str) -> Any:
    for step in re.findall(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]", path):
        name, index = step
        if name and isinstance(content, dict):
            content = content.get(name)
        elif index.isdigit() and isinstance(content, list) and int(index) < len(content):
            content = content[int(index)]
        else:
            return None
    return content
