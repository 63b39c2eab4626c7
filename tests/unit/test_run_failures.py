"""When people are notified of failures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from orchestration.definitions.run_failures import EndedRun, failures_since_success
from orchestration.operations.notifications import shorten_list, should_notify

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
TEN_MINUTES = timedelta(minutes=10)


def test_an_outage_began_with_the_first_failure_after_the_last_success() -> None:
    failed = [EndedRun("4", True, NOON), EndedRun("3", True, NOON - TEN_MINUTES)]
    worked = EndedRun("2", False, NOON - 2 * TEN_MINUTES)
    assert (
        failures_since_success([*failed, worked, EndedRun("1", True, NOON - 3 * TEN_MINUTES)])
        == failed
    )
    assert failures_since_success([worked, *failed]) == []
    assert failures_since_success([]) == []


def test_a_job_that_fails_every_ten_minutes_is_notified_once_an_hour() -> None:
    notified: list[datetime] = []
    for number in range(19):
        now = NOON + number * TEN_MINUTES
        if should_notify(NOON, notified[-1] if notified else None, now):
            notified.append(now)
    assert notified == [NOON + hours * timedelta(hours=1) for hours in range(4)]


def test_a_failure_that_was_not_notified_is_notified_with_the_next_one() -> None:
    assert should_notify(NOON, None, NOON + TEN_MINUTES)


@pytest.mark.parametrize("hours", [1, 5, 24])
def test_a_daily_job_is_notified_at_every_failure(hours: int) -> None:
    assert should_notify(NOON, NOON, NOON + timedelta(hours=hours))


def test_a_post_names_the_first_items_of_a_long_list() -> None:
    assert shorten_list(["a", "b"]) == "a, b"
    assert shorten_list(list("abcdefgh")) == "a, b, c, d, e and 3 more"
