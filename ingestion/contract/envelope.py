"""The msgspec types of valid events, built from the tracking plan.

There is one struct type per event, with the member ``event`` as its tag: decoding a line with the
union of these types validates envelope and properties in one step, in C.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Literal

import msgspec

from ingestion.contract.tracking_plan import LARGEST_NUMBER, Member, Plan, tracking_plan

# The member of a context that is never stored. It is removed even if it is null, so its type
# distinguishes null from absent.
IP_MEMBER = "ip"


class Slices(msgspec.Struct, gc=False):
    """The parts of an envelope as received bytes; empty if absent."""

    actor: msgspec.Raw = msgspec.Raw()
    context: msgspec.Raw = msgspec.Raw()
    properties: msgspec.Raw = msgspec.Raw()


class EventShape(msgspec.Struct):
    """What the validator needs to know about an event, besides its type."""

    name: str
    consent: bool
    requires_one_of: tuple[str, ...]


@cache
def event_union(*, only_known: bool = False) -> Any:
    """Return the union of all event types, for ``msgspec.json.Decoder`` and ``msgspec.convert``.

    With ``only_known`` events with members that the plan does not know are invalid, too.
    """
    plan = tracking_plan()
    union = None
    for name in plan.events:
        struct = _event_type(plan, name, only_known)
        union = struct if union is None else union | struct
    return union


@cache
def event_shapes() -> dict[str, EventShape]:
    """Return what the plan says about each event besides its type, by name."""
    return {
        name: EventShape(name, event.consent, event.requires_one_of)
        for name, event in tracking_plan().events.items()
    }


def _event_type(plan: Plan, name: str, only_known: bool) -> type[msgspec.Struct]:
    event = plan.events[name]
    required = {tuple(path.split(".")) for path in event.requires}
    members = {"actor": plan.actor, "context": plan.context, "properties": event.properties}
    parts = {
        part: _object_type(f"{name}.{part}", known, _below(part, required), only_known)
        for part, known in members.items()
    }
    optional = {
        part: type_
        for part, type_ in parts.items()
        if part != "actor" and not _is_needed(type_, part, required)
    }
    needed = {part: type_ for part, type_ in parts.items() if part not in optional}
    return msgspec.defstruct(
        name,
        [("timestamp", str)]
        + list(needed.items())
        + [("event_id", str | None, None)]
        + [(part, type_ | None, None) for part, type_ in optional.items()],
        tag=name,
        tag_field="event",
        forbid_unknown_fields=True,
        gc=False,
    )


def _is_needed(type_: type, part: str, required: set[tuple[str, ...]]) -> bool:
    has_required_field = any(field.required for field in msgspec.structs.fields(type_))
    return has_required_field or any(path[0] == part for path in required)


def _below(name: str, paths: set[tuple[str, ...]]) -> set[tuple[str, ...]]:
    return {path[1:] for path in paths if path[0] == name}


def _object_type(
    name: str, members: dict[str, Member], required: set[tuple[str, ...]], only_known: bool
) -> type[msgspec.Struct]:
    needed: list[tuple[str, Any]] = []
    optional: list[tuple[str, Any, Any]] = []
    for member_name, member in members.items():
        below = _below(member_name, required)
        is_required = member.required or (member_name,) in required or bool(below)
        type_ = _member_type(f"{name}.{member_name}", member, below, is_required, only_known)
        if is_required:
            needed.append((member_name, type_))
        elif name.endswith(".context") and member_name == IP_MEMBER:
            optional.append((member_name, type_ | None | msgspec.UnsetType, msgspec.UNSET))
        else:
            optional.append((member_name, type_ | None, None))
    return msgspec.defstruct(name, needed + optional, forbid_unknown_fields=only_known, gc=False)


def _member_type(
    name: str,
    member: Member,
    required: set[tuple[str, ...]],
    is_required: bool,
    only_known: bool,
) -> Any:
    match member.type:
        case "object":
            return _object_type(name, member.members, required, only_known)
        case "string" if member.one_of:
            return Literal[member.one_of]
        case "string":
            shortest = 1 if is_required and member.empty_is_absent else None
            return Annotated[str, msgspec.Meta(min_length=shortest, max_length=member.max_length)]
        case "strings":
            return list[str]
        case "boolean":
            return bool
        case "integer" | "number":
            bounds = msgspec.Meta(
                ge=-LARGEST_NUMBER if member.minimum is None else member.minimum,
                le=LARGEST_NUMBER if member.maximum is None else member.maximum,
            )
            number = int if member.type == "integer" else float
            return Annotated[number, bounds]
