"""When people are told of failures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from orchestration.notifying import Outage, is_told, outage_before

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
TEN_MINUTES = timedelta(minutes=10)


def test_an_outage_began_with_the_first_failure_after_the_last_success() -> None:
    runs = [(True, NOON), (True, NOON - TEN_MINUTES), (False, NOON - 2 * TEN_MINUTES),
            (True, NOON - 3 * TEN_MINUTES)]  # fmt: skip
    assert outage_before(runs) == Outage(NOON - TEN_MINUTES, 2, NOON)
    assert outage_before([(False, NOON), (True, NOON - TEN_MINUTES)]) is None
    assert outage_before([]) is None


def test_a_job_that_fails_every_ten_minutes_is_told_of_once_an_hour() -> None:
    told = [NOON] if is_told(None, NOON) else []
    for number in range(1, 19):
        now = NOON + number * TEN_MINUTES
        if is_told(Outage(NOON, number, now - TEN_MINUTES), now):
            told.append(now)
    assert told == [NOON + hours * timedelta(hours=1) for hours in range(4)]


@pytest.mark.parametrize("hours", [1, 5, 24])
def test_a_daily_job_is_told_of_at_every_failure(hours: int) -> None:
    outage = Outage(NOON, 1, NOON)
    assert is_told(outage, NOON + timedelta(hours=hours))
