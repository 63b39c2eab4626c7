"""The tracking plan: the events, and the members that each must and may have."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

PLAN_FILE = Path(__file__).parent / "tracking_plan.yml"
# Below 2^53, so a double holds every whole number up to it; no real count or price is larger.
LARGEST_NUMBER = 10**15
# Of a key, in characters: an index entry has at most 2,704 bytes. The plan names it as max_length.
LONGEST_KEY = 512


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
    example: str | int | float | tuple[str, ...] | None = None
    members: dict[str, Member] = {}


class Event(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One event of the plan. ``requires`` holds paths such as ``actor.lead_id``.

    ``browser`` says whether pages may send it, with a key that everybody can read.
    """

    description: str
    used_for: str
    consent: bool = False
    browser: bool = False
    requires: tuple[str, ...] = ()
    requires_one_of: tuple[str, ...] = ()
    properties: dict[str, Member] = {}


class Plan(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The whole plan: the members of every actor and context, and the events by name."""

    actor: dict[str, Member]
    context: dict[str, Member]
    events: dict[str, Event]


@cache
def tracking_plan() -> Plan:
    """Read the plan. Raises msgspec.ValidationError if the file does not have these types."""
    return msgspec.yaml.decode(PLAN_FILE.read_bytes(), type=Plan)
