"""When people are told of failures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from orchestration.definitions.run_failures import Ended, outage
from orchestration.operations.notifications import is_told, listed

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
TEN_MINUTES = timedelta(minutes=10)


def test_an_outage_began_with_the_first_failure_after_the_last_success() -> None:
    failed = [Ended("4", True, NOON), Ended("3", True, NOON - TEN_MINUTES)]
    worked = Ended("2", False, NOON - 2 * TEN_MINUTES)
    assert outage([*failed, worked, Ended("1", True, NOON - 3 * TEN_MINUTES)]) == failed
    assert outage([worked, *failed]) == []
    assert outage([]) == []


def test_a_job_that_fails_every_ten_minutes_is_told_of_once_an_hour() -> None:
    told: list[datetime] = []
    for number in range(19):
        now = NOON + number * TEN_MINUTES
        if is_told(NOON, told[-1] if told else None, now):
            told.append(now)
    assert told == [NOON + hours * timedelta(hours=1) for hours in range(4)]


def test_a_failure_that_was_not_told_of_is_told_of_at_the_next() -> None:
    assert is_told(NOON, None, NOON + TEN_MINUTES)


@pytest.mark.parametrize("hours", [1, 5, 24])
def test_a_daily_job_is_told_of_at_every_failure(hours: int) -> None:
    assert is_told(NOON, NOON, NOON + timedelta(hours=hours))


def test_of_a_long_list_a_post_names_the_first_ones() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed(list("abcdefgh")) == "a, b, c, d, e and 3 more"
