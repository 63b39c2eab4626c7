"""What producers are given: the page, an example of each event, and a JSON Schema."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from ingestion.contract.examples import example_line
from ingestion.contract.json_schema import json_schema
from ingestion.contract.reference_page import reference_page
from ingestion.contract.tracking_plan import tracking_plan
from ingestion.contract.validator import Accepted, Receipt, Rejected, Validator

RECEIPT = Receipt(datetime(2026, 2, 1, tzinfo=UTC), bytes(32), batch_id=1)
PLAN = tracking_plan()
SCHEMA = json_schema(PLAN)
FITS = Draft202012Validator(SCHEMA).is_valid


@pytest.mark.parametrize("name", PLAN.events)
def test_the_example_of_an_event_is_valid_and_has_all_that_the_plan_gives_an_example_of(
    name: str,
) -> None:
    line = example_line(PLAN, name)
    outcome = Validator(RECEIPT).validate(line.encode())
    assert isinstance(outcome, Accepted), outcome
    assert outcome.unknown is None
    assert f"```json\n{line}\n```" in "\n".join(reference_page(PLAN))
    content = json.loads(line)
    assert FITS(content)
    missing = PLAN.events[name].properties.keys() - content.get("properties", {}).keys()
    assert missing <= {"error_code", "error_message"}


def test_the_schema_is_a_schema_and_describes_every_event_and_member() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    silent = [
        f"{name}.{member}"
        for name, definition in SCHEMA["$defs"].items()
        for member, schema in definition["properties"].items()
        if re.search(r"\.(actor|context|properties)", name) and "description" not in schema
    ]
    assert silent == []


BROKEN: dict[str, dict[str, Any]] = {
    "an unknown event": {"event": "nothing"},
    "a missing timestamp": {"timestamp": None},
    "an id that is no UUID": {"event_id": "7"},
    "an unknown member": {"colour": "red"},
    "no client": {"actor": {"user_id": "u"}},
    "an empty client": {"actor": {"client_id": ""}},
    "nobody": {"event": "session", "actor": {"client_id": "acme"}},
    "nobody by an empty id": {"event": "session", "actor": {"client_id": "a", "unit_id": ""}},
    "no lead": {"event": "qualified"},
    "no path": {"event": "page_view", "context": {"page": {}}},
    "no property": {"event": "job_won"},
    "a value out of range": {"event": "chat", "properties": {"tokens_prompt": -1}},
    "a value outside its list": {"event": "chat", "properties": {"query_intent": "other"}},
    "a wrong type": {"event": "chat", "properties": {"cache_hit": "yes"}},
    "a number that is too large": {"event": "chat", "properties": {"cost_prompt": 1e16}},
    "a text that is too long": {"event": "chat", "properties": {"message_id": "x" * 513}},
}
VALID: dict[str, dict[str, Any]] = {
    "the least": {},
    "nulls": {"event_id": None, "context": None, "properties": None},
    "a kept member": {"properties": {"colour": "red"}},
    "somebody": {"event": "session", "actor": {"client_id": "acme", "unit_id": "u"}},
    "a whole number with a point": {"event": "chat", "properties": {"tokens_prompt": 1.0}},
}
LEAST = {"event": "signup", "timestamp": "2026-01-31T00:00:00Z", "actor": {"client_id": "acme"}}


@pytest.mark.parametrize("fault", BROKEN)
def test_the_schema_refuses_what_the_validator_rejects(fault: str) -> None:
    event = LEAST | BROKEN[fault]
    assert isinstance(Validator(RECEIPT).validate(json.dumps(event).encode()), Rejected)
    assert not FITS(event)


@pytest.mark.parametrize("kind", VALID)
def test_the_schema_takes_what_the_validator_takes(kind: str) -> None:
    event = LEAST | VALID[kind]
    assert isinstance(Validator(RECEIPT).validate(json.dumps(event).encode()), Accepted)
    assert FITS(event)
