"""One valid event of each name, made of the tracking plan's examples."""

from __future__ import annotations

import json
import uuid
from typing import Any

from ingestion.contract.tracking_plan import Event, Member, Plan

TIMESTAMP = "2026-01-31T09:30:00.250Z"
_NAMESPACE = uuid.UUID("1f0e7a52-3c5b-5e0f-9d43-7b1c0a6f2e88")


def example_line(plan: Plan, name: str) -> str:
    """Return a valid line of an event, with all properties that have an example."""
    event = plan.events[name]
    line: dict[str, Any] = {
        "event_id": str(uuid.uuid5(_NAMESPACE, name)),
        "event": name,
        "timestamp": TIMESTAMP,
        "actor": {"client_id": plan.actor["client_id"].example},
        "context": _context(plan, event),
    }
    for path in (*event.requires, *event.requires_one_of[:1]):
        _put(line, path.split("."), _member_at(plan, path))
    if properties := {
        member_name: example
        for member_name, member in event.properties.items()
        if (example := _example_of(member)) is not None
    }:
        line["properties"] = properties
    return json.dumps(line, ensure_ascii=False)


def _context(plan: Plan, event: Event) -> dict[str, Any]:
    context: dict[str, Any] = {"source": "api"}
    if event.consent:
        # Browsers need an opt-in.
        context = {"source": plan.context["source"].example, "consent": {"analytics": True}}
    for name in ("producer", "sequence"):
        context[name] = plan.context[name].example
    return context


def _member_at(plan: Plan, path: str) -> Member:
    part, *names = path.split(".")
    members = {"actor": plan.actor, "context": plan.context}[part]
    for name in names[:-1]:
        members = members[name].members
    return members[names[-1]]


def _put(line: dict[str, Any], path: list[str], member: Member) -> None:
    inner = line
    for step in path[:-1]:
        inner = inner.setdefault(step, {})
    inner[path[-1]] = _example_of(member)


def _example_of(member: Member) -> Any:
    if member.example is not None:
        return member.example
    if member.one_of:
        return member.one_of[0]
    return False if member.type == "boolean" else None
