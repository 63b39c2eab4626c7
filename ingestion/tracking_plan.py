"""The tracking plan: which events there are, and what each must and may say."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

PLAN_FILE = Path(__file__).parent / "tracking_plan.yml"
# Beyond it a double no longer holds every whole number, and no honest count or price gets there.
LARGEST_NUMBER = 10**15


class Member(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One member of actor, context or properties, as the plan describes it."""

    type: Literal["string", "integer", "number", "boolean", "strings", "object"]
    description: str
    required: bool = False
    minimum: int | None = None
    maximum: int | None = None
    max_length: int | None = None
    one_of: tuple[str, ...] | None = None
    personal: bool = False
    empty_is_absent: bool = False
    members: dict[str, Member] = {}


class Event(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One event of the plan. Paths in ``requires`` are such as ``actor.lead_id``."""

    description: str
    used_for: str
    consent: bool = False
    requires: tuple[str, ...] = ()
    requires_one_of: tuple[str, ...] = ()
    properties: dict[str, Member] = {}


class Plan(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The whole plan: the members of every envelope, and the events by name."""

    actor: dict[str, Member]
    context: dict[str, Member]
    events: dict[str, Event]


@cache
def tracking_plan() -> Plan:
    """Read the plan; raises msgspec.ValidationError where the file breaks its own grammar."""
    return msgspec.yaml.decode(PLAN_FILE.read_bytes(), type=Plan)


def reference_page(plan: Plan) -> Iterator[str]:
    """Yield the lines of the reference page for producers, in Markdown."""
    yield "# Events"
    yield ""
    yield (
        "One JSON object per line: `event`, `timestamp` (RFC 3339 with offset), `actor`, and where "
        "there is more to say `event_id` (UUID), `context`, `properties`. An optional member that "
        "is null counts as absent. Unknown members of actor, context and properties are kept; an "
        f"unknown top-level member is refused. Numbers lie within ±{LARGEST_NUMBER:,}."
    )
    yield ""
    yield from _member_table("Actor", plan.actor)
    yield from _member_table("Context", plan.context)
    for name, event in plan.events.items():
        yield f"## `{name}`"
        yield ""
        yield f"{event.description} Used for: {event.used_for}."
        if event.consent:
            yield (
                "**Needs consent**: suppressed where `context.dnt` is true or "
                "`context.consent.analytics` is false, and from `web` and `marketing_site` unless "
                "`context.consent.analytics` is true."
            )
        if event.requires:
            yield f"Requires {', '.join(f'`{path}`' for path in event.requires)}."
        if event.requires_one_of:
            yield f"Requires one of {', '.join(f'`{path}`' for path in event.requires_one_of)}."
        yield ""
        if event.properties:
            yield from _member_table(None, event.properties)


def _member_table(title: str | None, members: dict[str, Member]) -> Iterator[str]:
    if title:
        yield f"## {title}"
        yield ""
    yield "| member | type | required | personal data | meaning |"
    yield "|---|---|---|---|---|"
    for path, member in _flat(members):
        required = "yes" if member.required else ""
        personal = "yes" if member.personal else ""
        yield f"| `{path}` | {_type(member)} | {required} | {personal} | {member.description} |"
    yield ""


def _flat(members: dict[str, Member], prefix: str = "") -> Iterator[tuple[str, Member]]:
    for name, member in members.items():
        yield prefix + name, member
        yield from _flat(member.members, f"{prefix}{name}.")


def _type(member: Member) -> str:
    names = {"integer": "whole number", "strings": "list of strings"}
    words = [names.get(member.type, member.type)]
    if member.minimum is not None and member.maximum is not None:
        words.append(f"{member.minimum} to {member.maximum}")
    elif member.minimum is not None:
        words.append(f"≥ {member.minimum}")
    if member.max_length is not None:
        fewest = "1 to" if member.empty_is_absent else "at most"
        words.append(f"{fewest} {member.max_length} characters")
    if member.one_of:
        words.append("one of " + ", ".join(f"`{value}`" for value in member.one_of))
    return ", ".join(words)
