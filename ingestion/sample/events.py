"""One event of the sample before it becomes a line."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any

Json = dict[str, Any]


@dataclass(slots=True)
class Event:
    """An event before it is a line: no identity, no sequence and no arrival yet."""

    at: datetime
    name: str
    actor: Json
    properties: Json = field(default_factory=dict)
    context: Json = field(default_factory=dict)


def new_uuid(rng: Random) -> str:
    """Draw a UUID of version 4."""
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def present(**members: object) -> Json:
    """The members that are there, None left out."""
    return {name: value for name, value in members.items() if value is not None}


NEEDS_CONSENT = frozenset(
    (
        "session",
        "page_view",
        "pdf_download",
        "contact_submitted",
        "builder_action",
        "analytics.dashboard_view",
        "analytics.filter_change",
        "analytics.export",
    )
)


def stamp(at: datetime) -> str:
    """Write a time as producers do."""
    return f"{at.astimezone(UTC).isoformat(timespec='milliseconds')[:-6]}Z"


def dumped(value: object) -> bytes:
    """Write a value as compact JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def is_refused(event: Event) -> bool:
    """Return whether the event needs a consent that it does not have."""
    if event.name not in NEEDS_CONSENT:
        return False
    consent = event.context.get("consent", {}).get("analytics")
    in_browser = event.context["source"] in ("web", "marketing_site")
    return event.context.get("dnt") is True or consent is False or (in_browser and not consent)
