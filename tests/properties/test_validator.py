"""Line by line, the validator says what the contract says; no bytes make it stumble."""

from __future__ import annotations

import json
from datetime import UTC, datetime, time, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from ingestion.contract.line import has_common_format, is_rfc3339
from ingestion.contract.validator import (
    EPOCH,
    Accepted,
    Outcome,
    Receipt,
    Rejected,
    Suppressed,
    Validator,
    earliest_event,
    ids_in_row,
)
from ingestion.load.chunks import Offset, cut, split
from ingestion.load.validation import validate_chunk
from tests.conftest import examples
from tests.properties.strategies import (
    RECEIVED_AT,
    files,
    lines,
    literals_near_bounds,
    number_literals,
)
from tests.reference import intake as reference

SALT = b"s" * 32
RECEIPT = Receipt(RECEIVED_AT, SALT, batch_id=1)


def validated(line: bytes) -> Outcome:
    return Validator(RECEIPT).validate(line)


def key_of(event: Accepted) -> reference.Key:
    moment = EPOCH + timedelta(microseconds=event.microseconds)
    client_id, event_id = ids_in_row(event.row)
    return client_id.decode(), str(UUID(bytes=event_id)), moment


@st.composite
def spoilt_lines(draw: st.DrawFn) -> bytes:
    """Lines with bytes of any kind put in place of some of theirs."""
    line = bytearray(draw(lines())[:5_000])
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(line)))
        until = at + draw(st.integers(0, 3))
        line[at:until] = draw(st.binary(max_size=3) | st.sampled_from((b"\\", b'"', b"{", b"[")))
    return bytes(line)


@examples(600)
@given(lines())
def test_every_line_gets_the_outcome_and_a_reason_that_the_contract_gives(line: bytes) -> None:
    outcome, expected = validated(line), reference.validate(line, RECEIVED_AT, set())
    assert outcome.sequence == expected.sequence
    if isinstance(outcome, Accepted):
        assert (expected.kind, expected.key) == ("accepted", key_of(outcome))
    elif isinstance(outcome, Suppressed):
        assert expected.kind == "suppressed"
        assert (outcome.event, outcome.day) == (expected.event, expected.day)
    else:
        assert expected.kind == "rejected"
        assert outcome.reason in expected.reasons, outcome.detail


@examples(500)
@given(st.binary(max_size=300) | spoilt_lines())
def test_any_bytes_get_a_fate_and_the_same_one_as_in_the_reference(line: bytes) -> None:
    outcome, expected = validated(line), reference.validate(line, RECEIVED_AT, set())
    if isinstance(outcome, Rejected):
        assert outcome.reason in expected.reasons, outcome.detail
        assert outcome.detail
    else:
        assert type(outcome).__name__.lower() == expected.kind


@examples(500)
@given(literal=number_literals(), before=st.sampled_from(("", " ", "[1,", '{"a":')), data=st.data())
def test_every_number_is_bounded_wherever_it_stands(
    literal: str, before: str, data: st.DataObject
) -> None:
    after = data.draw(st.sampled_from(("", " ", "\t", "\r"))) + {"[": "]", "{": "}"}.get(
        before[:1], ""
    )
    text = before + literal + after
    if data.draw(st.booleans()):
        # Beside strings that look like numbers out of bounds.
        text += f', "3e999,": "{"7" * 50}"'
    event = {
        "event": "system_metric",
        "timestamp": "2026-01-10T08:30:00Z",
        "actor": {"client_id": "acme"},
        "properties": {"metric_type": "m", "metric_value": 0, "server_id": "s", "x": 5},
    }
    place = data.draw(st.sampled_from(('"metric_value": 0', '"x": 5', '"client_id": "acme"')))
    line = json.dumps(event).replace(place, f"{place}, {place.partition(':')[0]}: {text}")
    if data.draw(st.booleans()):
        line = line.replace(text, f"{text}, {place}")
    outcome, expected = (
        validated(line.encode()),
        reference.validate(line.encode(), RECEIVED_AT, set()),
    )
    assert type(outcome).__name__.lower() == expected.kind, line


NUMBERS: list[tuple[str, dict[str, object]]] = [
    ("chat", {"cost_prompt": "HERE"}),
    ("chat", {"user_query_length": "HERE"}),
    ("system_metric", {"metric_type": "m", "metric_value": "HERE", "server_id": "s"}),
    ("chat_feedback", {"message_id": "m", "rating": "HERE"}),
    (
        "api_request",
        {"endpoint": "/", "method": "GET", "response_time_ms": 1, "status_code": "HERE"},
    ),
    ("signup", {"x": "HERE"}),
]


@examples(500)
@given(literals_near_bounds(), st.sampled_from(NUMBERS), st.booleans())
def test_bounds_hold_for_numbers_as_they_are_written(
    literal: str, place: tuple[str, dict[str, object]], is_sequence: bool
) -> None:
    name, properties = place
    content = {
        "event": name,
        "timestamp": "2026-01-10T08:30:00Z",
        "actor": {"client_id": "acme"},
        "context": {"producer": "p", "sequence": "HERE" if is_sequence else 7},
        "properties": {} if is_sequence else properties,
    }
    line = json.dumps(content).replace('"HERE"', literal).encode()
    outcome, expected = validated(line), reference.validate(line, RECEIVED_AT, set())
    assert type(outcome).__name__.lower() == expected.kind, literal
    assert outcome.sequence == expected.sequence


@examples(1200)
@given(st.lists(st.tuples(st.integers(0, 23), st.sampled_from("0123459-+:.,ZTW tz٣")), max_size=3))
def test_what_python_reads_of_commonly_written_times_is_a_time_by_the_contract(
    changes: list[tuple[int, str]],
) -> None:
    characters = list("2026-01-31T23:59:59.123Z")
    for at, character in changes:
        characters[at] = character
    timestamp = "".join(characters)
    try:
        datetime.fromisoformat(timestamp)
    except ValueError:
        return
    assert is_rfc3339(timestamp) or not has_common_format(timestamp)


@examples(200)
@given(st.datetimes(datetime(2001, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))
def test_the_earliest_day_is_ten_years_before_receipt(received_at: datetime) -> None:
    earliest = earliest_event(received_at)
    assert earliest.date() == reference.earliest_day(received_at)
    assert (earliest - datetime.combine(earliest, time(), UTC)).total_seconds() == 0


@examples(40)
@given(files(max_lines=20) | st.binary(max_size=300))
def test_no_line_of_a_file_is_lost_and_none_has_two_outcomes(content: bytes) -> None:
    expected = [number for number, _, _ in reference.validate_file(content, RECEIVED_AT)]
    outcomes = 0
    numbers: list[int] = []
    for chunk in map(split, cut(iter([content]), Offset())):
        validated = validate_chunk(chunk, RECEIPT)
        numbers += [number for number, _ in chunk.lines]
        outcomes += len(validated.accepted) + validated.duplicates + validated.suppressed.total()
        outcomes += len(validated.rejected)
        assert {number for number, _, _ in validated.rejected} <= set(numbers)
    assert numbers == expected
    assert outcomes == len(expected)
