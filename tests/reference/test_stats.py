"""The reference of the marketing row on examples that can be checked by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from tests.reference.stats import DayParts, MarketingRow, day_parts, marketing_row, rate

# The reference changes only with the contract.
pytestmark = pytest.mark.deep

AS_OF = datetime(2025, 4, 10, 12, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def happened(name: str, at: datetime, unit: str | None = None, number: int = 0) -> dict:
    return {
        "event_id": f"{name} {at} {number}",
        "event": name,
        "timestamp": at.isoformat(),
        "actor": {"client_id": "acme", "unit_id": unit},
    }


@pytest.mark.parametrize(
    ("at", "active"),
    [
        (AS_OF - timedelta(hours=720) - MICROSECOND, 0),
        (AS_OF - timedelta(hours=720), 1),
        (AS_OF - MICROSECOND, 1),
        (AS_OF, 0),
    ],
)
def test_a_session_counts_in_the_720_hours_before_as_of(at: datetime, active: int) -> None:
    assert marketing_row([happened("session", at, "u")], [], AS_OF).active_users == active


def test_units_count_once_and_no_unit_does_not() -> None:
    at = AS_OF - timedelta(days=1)
    sessions = [happened("session", at, unit, n) for n, unit in enumerate(["u", "u", "", None])]
    assert marketing_row(sessions, ["u", "v", "v"], AS_OF) == MarketingRow(
        1, 0, 0, Decimal("0.5"), AS_OF
    )


def test_the_same_event_twice_is_one_and_days_are_of_utc() -> None:
    late = datetime.fromisoformat("2025-04-02T01:30:00+02:00")
    chats = [happened("chat", late), happened("chat", late), happened("chat", late, number=1)]
    downloads = [happened("pdf_download", AS_OF), happened("pdf_download", AS_OF - MICROSECOND)]
    assert day_parts([*chats, *downloads], AS_OF) == [
        DayParts(date(2025, 4, 1), 2, 0),
        DayParts(date(2025, 4, 10), 0, 1),
    ]


@pytest.mark.parametrize(
    ("active", "units", "expected"),
    [(1, 32, "0.0313"), (1, 3, "0.3333"), (2, 3, "0.6667"), (3, 2, "1.5"), (0, 7, "0")],
)
def test_the_rate_has_four_decimals_half_away_from_zero(
    active: int, units: int, expected: str
) -> None:
    assert rate(active, units) == Decimal(expected)


def test_without_units_there_is_no_rate() -> None:
    assert rate(3, 0) is None
