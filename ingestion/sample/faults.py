"""Lines that violate the contract, with one fault each."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from ingestion.contract.line import LARGEST_LINE
from ingestion.sample.events import Event, Json, dumped, is_refused
from ingestion.sample.timeline import SAMPLE_AS_OF

BAD_SHARE = 0.003

Fault = Callable[[Json], bytes]

TOO_DEEP = 70


def _with(*path: str, value: object) -> Fault:
    """Return a fault that sets a member to an invalid value."""

    def fault(payload: Json) -> bytes:
        return dumped(_changed(payload, path, lambda parent, key: parent.update({key: value})))

    return fault


def _without(*path: str) -> Fault:
    """Return a fault that removes a required member."""

    def fault(payload: Json) -> bytes:
        return dumped(_changed(payload, path, lambda parent, key: parent.pop(key)))

    return fault


def _changed(payload: Json, path: Sequence[str], change: Callable[[Json, str], object]) -> Json:
    """Return a copy with one member changed: events of one visit share parts of their payload."""
    copy = json.loads(json.dumps(payload))
    parent = copy
    for key in path[:-1]:
        parent = parent.setdefault(key, {})
    change(parent, path[-1])
    return copy


def _in_latin_1(payload: Json) -> bytes:
    text = _with("properties", "note", value="Café au lait")(payload).decode()
    return text.encode("latin-1", errors="replace")


def _cut_short(payload: Json) -> bytes:
    data = dumped(payload)
    return data[: len(data) * 2 // 3].decode(errors="ignore").encode()


def _not_a_number(payload: Json) -> bytes:
    return _with("properties", "score", value=math.nan)(payload)


def _half_a_character(payload: Json) -> bytes:
    noted = _with("properties", "note", value="half")(payload)
    return noted.replace(b'"note":"half"', b'"note":"\\ud83d"')


def _nested(payload: Json) -> bytes:
    nest: list[Any] = []
    for _ in range(TOO_DEEP):
        nest = [nest]
    return _with("properties", "tree", value=nest)(payload)


def _in_a_list(payload: Json) -> bytes:
    return b"[" + dumped(payload) + b"]"


def _heartbeat(_: Json) -> bytes:
    return b'"heartbeat"'


def _oversized(payload: Json) -> bytes:
    return _with("properties", "transcript", value="lorem " * (LARGEST_LINE // 6 + 1))(payload)


ANY_FAULTS: tuple[Fault, ...] = (
    _in_latin_1,
    _cut_short,
    _not_a_number,
    _half_a_character,
    _nested,
    _in_a_list,
    _heartbeat,
    _with("meta", value={"sdk": "0.9"}),  # unknown_field
    _without("actor", "client_id"),  # missing_field
    _with("event_id", value="not-a-uuid"),  # invalid_field
    _with("context", "session_id", value=17),
    _with("actor", "user_id", value="user\x00"),
)
FAULTS: dict[str, tuple[Fault, ...]] = {
    # Only events without sequence numbers get an invalid timestamp: with an unreadable day their
    # number would be counted in 1970, where the demo's loss table would then begin.
    "page_view": (
        *ANY_FAULTS,
        _without("timestamp"),
        _without("event"),
        _without("context", "page", "path"),
        _with("event", value="pageview"),  # unknown_event
        _with("timestamp", value="2026-03-01 09:30:00"),  # invalid_field: no offset
        _with("timestamp", value="2026-02-30T09:30:00Z"),
        _with("timestamp", value="1970-01-01T00:00:00Z"),  # timestamp_out_of_range
        _with("timestamp", value="2126-04-01T09:30:00Z"),
    ),
    "chat": (
        *ANY_FAULTS,
        _with("event", value="chat_v2"),
        _with("properties", "tokens_prompt", value=-1),
        _with("properties", "response_time_ms", value="fast"),
        _with("properties", "query_intent", value="small_talk"),
        _with("properties", "tokens_completion", value=100.5),
    ),
    "message": (
        *ANY_FAULTS,
        _without("actor", "lead_id"),
        _without("properties", "direction"),
        _with("event", value="sms"),
        _with("properties", "direction", value="sideways"),
    ),
    "api_request": (
        *ANY_FAULTS,
        _without("properties", "status_code"),
        _with("event", value="analytics.ingest_success"),
        _with("properties", "status_code", value=99),
    ),
}


def chosen_for_breaking(events: Sequence[Event], rng: Random) -> dict[int, Fault]:
    """Choose events that become invalid, with every fault in turn, and one line too large."""
    able = [
        number
        for number, event in enumerate(events)
        if event.name in FAULTS and event.at < SAMPLE_AS_OF and not is_refused(event)
    ]
    chosen: dict[int, Fault] = {}
    turns: Counter[str] = Counter()
    for number in rng.sample(able, round(BAD_SHARE * len(events))):
        name = events[number].name
        chosen[number] = FAULTS[name][turns[name] % len(FAULTS[name])]
        turns[name] += 1
    chosen[next(n for n in able if events[n].name == "chat" and n not in chosen)] = _oversized
    return chosen
