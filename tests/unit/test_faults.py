"""All faults of a rejected line are reported at once."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from ingestion.contract.faults import MOST_FAULTS
from ingestion.contract.tracking_plan import Member, Plan, tracking_plan
from ingestion.contract.validator import Accepted, Receipt, Rejected, Validator

RECEIPT = Receipt(datetime(2026, 2, 1, tzinfo=UTC), bytes(32), batch_id=1)
VALID: dict[str, Any] = {
    "event": "message",
    "timestamp": "2026-01-01T00:00:00Z",
    "actor": {"client_id": "acme", "lead_id": "l"},
    "context": {"page": {"path": "/"}},
    "properties": {"direction": "inbound", "sender_type": "ai"},
}


def rejected(event: dict[str, Any]) -> Rejected:
    outcome = Validator(RECEIPT).validate(json.dumps(event).encode())
    assert isinstance(outcome, Rejected), outcome
    return outcome


FAULTS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "of every part": (
        {
            "timestamp": "yesterday",
            "event_id": "7",
            "actor": {"client_id": 5},
            "context": {"page": {"path": 5}, "sequence": -1, "page_url": "kept"},
            "properties": {"direction": "up"},
            "colour": "red",
        },
        [
            "$.actor.client_id: expected a string", "$.actor.lead_id is required",
            "$.context.page.path: expected a string", "$.context.sequence: expected a whole number",
            "$.properties.direction: expected one of", "$.properties.sender_type is required",
            '$: unknown member "colour"', "$.timestamp: expected an RFC 3339 time",
            "$.event_id: expected a UUID",
        ],
    ),
    "of an event outside the plan": (
        {"event": "mesage", "timestamp": None, "properties": {"direction": "up"}, "colour": 1},
        ["$.event: \"mesage\" is not in", "$.timestamp is required", '$: unknown member "colour"'],
    ),
    "of a time that is too early, and an actor of no kind": (
        {
            "event": "session", "timestamp": "2001-01-01T00:00:00Z",
            "actor": {"client_id": "acme"}, "properties": None,
        },
        ["one of $.actor.unit_id", "$.timestamp: expected a time from"],
    ),
    "of parts that are no objects": (
        {"actor": [], "context": 5, "properties": "none"},
        [
            "$.actor: expected an object", "$.context: expected an object",
            "$.properties: expected an object",
        ],
    ),
    "of a NUL and a range": (
        {"actor": {"client_id": "a\0", "lead_id": "l"}, "context": {"sequence": -1}},
        ["$.actor.client_id: a string must not contain NUL", "$.context.sequence: expected"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", FAULTS)
def test_all_faults_of_a_line_are_reported(kind: str) -> None:
    changes, expected = FAULTS[kind]
    outcome = rejected(VALID | changes)
    details = outcome.detail.split("; ")
    unexpected = [one for one in details if not any(one.startswith(start) for start in expected)]
    # A list of known members is part of the message on an unknown one.
    assert [one for one in unexpected if not one.startswith("known members are")] == []
    assert [start for start in expected if start not in outcome.detail] == []


def test_of_very_many_faults_the_first_are_reported() -> None:
    properties = {name: [1] for name in tracking_plan().events["chat"].properties}
    outcome = rejected(VALID | {"event": "chat", "properties": properties})
    details = outcome.detail.split("; ")
    assert len(details) == MOST_FAULTS + 1
    assert details[-1] == "more faults are not listed"


def broken(plan: Plan) -> list[tuple[str, dict[str, Any]]]:
    """Events with each member of the plan broken, alone."""

    def breaks(path: tuple[str, ...], members: dict[str, Member]) -> list[tuple[str, ...]]:
        found = []
        for name, member in members.items():
            found += [(*path, name), *breaks((*path, name), member.members)]
        return found

    cases = []
    for name, event in plan.events.items():
        paths = breaks(("actor",), plan.actor) + breaks(("context",), plan.context)
        for path in paths + breaks(("properties",), event.properties):
            content: dict[str, Any] = {"event": name, "timestamp": VALID["timestamp"]}
            inner = content
            for step in path[:-1]:
                inner = inner.setdefault(step, {})
            inner[path[-1]] = [[]]
            cases.append((".".join(path), content))
    return cases


def test_every_member_of_the_plan_can_be_repaired_and_what_follows_is_found() -> None:
    for path, content in broken(tracking_plan()):
        content["zzz"] = 1
        outcome = Validator(RECEIPT).validate(json.dumps(content).encode())
        if isinstance(outcome, Rejected):
            assert f"$.{path}" in outcome.detail
            assert 'unknown member "zzz"' in outcome.detail


def test_a_valid_event_has_no_fault() -> None:
    assert isinstance(Validator(RECEIPT).validate(json.dumps(VALID).encode()), Accepted)
