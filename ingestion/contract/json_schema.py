"""The tracking plan as a JSON Schema, for editors, generated clients and tests of producers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ingestion.contract.envelope import event_union
from ingestion.contract.tracking_plan import Event, Member, Plan

DIALECT = "https://json-schema.org/draft/2020-12/schema"
UUID_PATTERN = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"


def json_schema(plan: Plan) -> dict[str, Any]:
    """Return the schema of a line: any of the plan's events, each of which is in ``$defs``.

    It is made of the types that the validator decodes, so that what it refuses is rejected. The
    reverse does not hold: a schema can't say how old a timestamp may be, for example.
    """
    schema = msgspec.json.schema(event_union())
    definitions = schema["$defs"]
    for name, event in plan.events.items():
        _describe_event(definitions[name], event)
        members = {"actor": plan.actor, "context": plan.context, "properties": event.properties}
        for part, known in members.items():
            _describe_members(definitions, f"{name}.{part}", known)
    return {
        "$schema": DIALECT,
        "title": "An event of the tracking plan",
        "anyOf": schema["anyOf"],
        "$defs": definitions,
    }


def _describe_event(definition: dict[str, Any], event: Event) -> None:
    definition["description"] = event.description
    members = definition["properties"]
    members["timestamp"]["format"] = "date-time"
    members["event_id"]["anyOf"][0]["pattern"] = UUID_PATTERN
    if event.requires_one_of:
        definition["anyOf"] = [_requires(path.split(".")) for path in event.requires_one_of]


def _requires(path: list[str]) -> dict[str, Any]:
    name, *below = path
    inner = _requires(below) if below else {"type": "string", "minLength": 1}
    return {"required": [name], "properties": {name: inner}}


def _describe_members(
    definitions: Mapping[str, Any], path: str, members: Mapping[str, Member]
) -> None:
    described = definitions[path]["properties"]
    for name, member in members.items():
        described[name]["description"] = member.description
        if member.example is not None:
            described[name]["examples"] = [member.example]
        if member.members:
            _describe_members(definitions, f"{path}.{name}", member.members)
