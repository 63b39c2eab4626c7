"""From where a stream is read next, given what was open when it was read last."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ingestion.sources.postgres.cursors import Cursor, next_cursor
from ingestion.sources.postgres.session import OpenTransactions

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def seen(asked: int, oldest: int, *prepared: str) -> OpenTransactions:
    """What was open at a minute past noon."""
    return OpenTransactions(
        NOON + asked * MINUTE, NOON + oldest * MINUTE, frozenset(prepared), False
    )


def since(cursor: Cursor) -> float | None:
    """Minutes past noon from which the next pull reads, with an overlap of five."""
    at = cursor.since(5 * MINUTE)
    return None if at is None else (at - NOON) / MINUTE


def test_a_pull_reads_from_the_begin_of_the_oldest_transaction_less_the_overlap() -> None:
    assert since(next_cursor(None, seen(10, 10))) == 5
    assert since(next_cursor(None, seen(10, 2))) == -3


def test_a_prepared_transaction_began_no_earlier_than_what_was_open_before_it_was_prepared() -> (
    None
):
    first = next_cursor(None, seen(10, 8))
    second = next_cursor(first, seen(20, 20, "p"))
    assert since(second) == 3
    # It stays, and others come and go: the cursor waits for it alone.
    third = next_cursor(second, seen(30, 29, "p", "q"))
    assert since(third) == 3
    fourth = next_cursor(third, seen(40, 40, "q"))
    assert since(fourth) == 15
    assert since(next_cursor(fourth, seen(50, 50))) == 45


def test_of_a_transaction_that_was_prepared_before_the_first_pull_nothing_is_known() -> None:
    first = next_cursor(None, seen(10, 10, "p"))
    assert since(first) is None
    second = next_cursor(first, seen(20, 20, "p"))
    assert since(second) is None
    assert since(next_cursor(second, seen(30, 30))) == 25
