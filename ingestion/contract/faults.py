"""Finds all that is wrong with an event's members, one fault after the other.

msgspec stops at the first fault. So each one is repaired with a valid value, and the event is
checked again.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial
from typing import Any

import msgspec

from ingestion.contract.envelope import event_union
from ingestion.contract.line import Fault, Reason
from ingestion.contract.messages import fault_of
from ingestion.contract.tracking_plan import Member, tracking_plan

ENVELOPE = "event_id, event, timestamp, actor, context, properties"
# Of a line, so that its detail fits. More faults are found when these are fixed.
MOST_FAULTS = 10
# Of objects with members: an event, its context, and the page there.
DEPTH_OF_PLAN = 3


def faults_of_members(content: dict[str, Any]) -> Iterator[Fault]:
    """Yield the faults of an event against the tracking plan, at most MOST_FAULTS + 1.

    Of an event that is not in the plan, actor and context are checked, not its properties.
    """
    repaired = _copied(content, DEPTH_OF_PLAN)
    for _ in range(MOST_FAULTS + 1):
        try:
            msgspec.convert(repaired, event_union())
        except msgspec.ValidationError as error:
            fault, path = fault_of(error, repaired, partial(member_at, repaired), ENVELOPE)
            yield fault
            _repair(repaired, path, fault.reason)
        else:
            return


def _copied(value: Any, depth: int) -> Any:
    """Copy the objects that the plan knows, whose members may be repaired."""
    if not depth or not isinstance(value, dict):
        return value
    return {name: _copied(member, depth - 1) for name, member in value.items()}


def _repair(content: dict[str, Any], path: tuple[str, ...], reason: Reason) -> None:
    if reason is Reason.UNKNOWN_FIELD:
        del content[path[0]]
        return
    if path == ("event",):
        content["event"] = _undemanding_event()
        content.pop("properties", None)
        return
    inner = content
    for step in path[:-1]:
        inner = inner[step]
    member = member_at(content, ".".join(("$", *path)))
    inner[path[-1]] = "" if member is None else _valid_value(member)


@cache
def _undemanding_event() -> str:
    """Return an event of the plan that requires nothing beyond what all events do."""
    return next(
        name
        for name, event in tracking_plan().events.items()
        if not (event.requires or any(member.required for member in event.properties.values()))
    )


def _valid_value(member: Member) -> Any:
    if member.one_of:
        return member.one_of[0]
    match member.type:
        case "object":
            return {name: _valid_value(inner) for name, inner in member.members.items()}
        case "integer" | "number":
            return member.minimum or 0
        case "boolean":
            return True
        case "strings":
            return []
    return "x"


def member_at(content: dict[str, Any], path: str) -> Member | None:
    """Return the plan's member at a path such as ``$.actor.lead_id``, None for others."""
    plan = tracking_plan()
    top, *names = path.removeprefix("$.").split(".")
    event = plan.events.get(str(content.get("event")))
    members = {
        "actor": plan.actor,
        "context": plan.context,
        "properties": event.properties if event else {},
    }.get(top)
    if members is None:
        return None
    member: Member | None = Member(type="object", description=top, members=members)
    for name in names:
        member = member.members.get(name.partition("[")[0]) if member else None
    return member
