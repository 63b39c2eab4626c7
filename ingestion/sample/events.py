"""Events of the sample before they become lines."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any

from ingestion.contract.consent import context_consents
from ingestion.contract.tracking_plan import tracking_plan

Json = dict[str, Any]


@dataclass(slots=True)
class Event:
    """An event before it becomes a line: without id, sequence number and arrival time."""

    at: datetime
    name: str
    actor: Json
    properties: Json = field(default_factory=dict)
    context: Json = field(default_factory=dict)


def new_uuid(rng: Random) -> str:
    """Return a random UUID of version 4."""
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def present(**members: object) -> Json:
    """Return the members that are not None."""
    return {name: value for name, value in members.items() if value is not None}


NEEDS_CONSENT = frozenset(name for name, event in tracking_plan().events.items() if event.consent)


def stamp(at: datetime) -> str:
    """Return a time in the format of producers."""
    return f"{at.astimezone(UTC).isoformat(timespec='milliseconds')[:-6]}Z"


def dumped(value: object) -> bytes:
    """Return a value as compact JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def is_refused(event: Event) -> bool:
    """Return whether the event needs a consent that it does not have."""
    return event.name in NEEDS_CONSENT and not context_consents(event.context)
