"""What a single line costs to validate, and how numbers at the bounds are distinguished."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from ingestion.contract.tracking_plan import tracking_plan
from ingestion.contract.validator import Outcome, Receipt, Rejected, Validator
from tests.support.lines import line

RECEIVED_AT = datetime(2026, 1, 16, 12, tzinfo=UTC)
NAME = b"k" * 130_000


def validated(payload: bytes) -> Outcome:
    return Validator(Receipt(RECEIVED_AT, b"s" * 32, 1)).validate(payload)


def with_properties(properties: bytes) -> bytes:
    return line(1, properties="HERE").strip().replace(b'"HERE"', properties)


def seconds(payload: bytes) -> float:
    """The processor's time for a line, of three the shortest."""

    def once() -> float:
        started = time.process_time()
        validated(payload)
        return time.process_time() - started

    return min(once() for _ in range(3))


@pytest.mark.parametrize("last", [b"1e100", b"1e999", b'"\\u0000"'])
def test_a_long_name_costs_no_more_for_all_that_stands_under_it(last: bytes) -> None:
    elements = b"[" + b"1," * 20_000 + last + b"]"
    above = with_properties(b'{"%b":%b}' % (NAME, elements))
    beside = with_properties(b'{"%b":1,"x":%b}' % (NAME, elements))
    assert seconds(above) < 4 * seconds(beside)


@pytest.mark.parametrize(
    "payload",
    [
        with_properties(b'{"%b":[1e999]}' % NAME),
        with_properties(b'{"%b\\u0000":1}' % NAME),
        with_properties(b'{"%b":"\\u0000"}' % NAME),
        line(1, timestamp="2100-01-01T00:00:00." + "5" * 100_000 + "Z").strip(),
        line(1, timestamp="0000-01-01T00:00:00." + "5" * 100_000 + "Z").strip(),
        line(1, timestamp="2026-13-01T00:00:00." + "5" * 100_000 + "Z").strip(),
        line(1, event="e" * 100_000).strip(),
        line(1, **{"m" * 100_000: 1}).strip(),
    ],
)
def test_no_detail_quotes_what_came_at_full_length(payload: bytes) -> None:
    outcome = validated(payload)
    assert isinstance(outcome, Rejected)
    assert len(outcome.detail) < 500


def test_a_path_is_that_of_what_is_refused() -> None:
    outcome = validated(with_properties(b'{"a":[1,{"b":1,"c\\n":[[],[2,3e999]]}]}'))
    assert isinstance(outcome, Rejected)
    assert outcome.detail.startswith("$.properties.a[1].c\\n[1][1]: expected a number")


def test_the_plan_bounds_fractions_by_nothing_but_0_and_the_largest_number() -> None:
    # Other bounds may_hold_unbounded_number would have to know, as a double may miss them.
    plan = tracking_plan()
    members = [member for event in plan.events.values() for member in event.properties.values()]
    bounds = {(each.minimum, each.maximum) for each in members if each.type == "number"}
    assert bounds == {(0, None), (None, None)}
