"""Which periods models are partitioned by."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from orchestration.definitions.partitions import Period, first_of_period, period_of


@pytest.mark.parametrize(
    ("day", "period", "first"),
    [
        ("2026-01-01", Period.DAY, "2026-01-01"),
        ("2026-01-01", Period.WEEK, "2025-12-29"),
        ("2026-03-01", Period.WEEK, "2026-02-23"),
        ("2026-03-02", Period.WEEK, "2026-03-02"),
        ("2024-02-29", Period.MONTH, "2024-02-01"),
    ],
)
def test_a_week_starts_on_monday_and_a_month_on_its_first(
    day: str, period: Period, first: str
) -> None:
    assert first_of_period(date.fromisoformat(day), period).isoformat() == first


@pytest.mark.parametrize(
    ("folder", "meta", "period"),
    [
        ("clients", {"window_on": "date"}, Period.DAY),
        ("clients", {"window_on": "week_start", "period": "week"}, Period.WEEK),
        ("ai_usage", {"window_on": "make_date(year, month, 1)", "period": "month"}, Period.MONTH),
        ("clients", {}, None),
        ("platform", {"window_on": "date"}, None),
    ],
)
def test_what_has_windows_is_partitioned_but_for_the_platform(
    folder: str, meta: dict[str, Any], period: Period | None
) -> None:
    props = {"fqn": ["warehouse", "marts", folder, "a_mart"], "meta": meta}
    assert period_of(props) == period
