"""Why the server refused an event: as one server says it, and as a coordinator does."""

from __future__ import annotations

import psycopg
import pytest

from ingestion.load.conflicts import is_duplicate, lacks_partition

DUPLICATE = 'duplicate key value violates unique constraint "raw_events_2026_01_key_102008"'
NO_PARTITION = 'no partition of relation "raw_events_102008" found for row'


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (psycopg.errors.UniqueViolation(DUPLICATE), (True, False)),
        (psycopg.errors.InternalError_(DUPLICATE), (True, False)),
        (psycopg.errors.CheckViolation(NO_PARTITION), (False, True)),
        (psycopg.errors.InternalError_(NO_PARTITION), (False, True)),
        (psycopg.errors.InternalError_("could not open file"), (False, False)),
        # Somebody's own text is no reason to land a chunk again.
        (psycopg.errors.RaiseException(DUPLICATE), (False, False)),
        (psycopg.errors.DiskFull(NO_PARTITION), (False, False)),
    ],
)
def test_a_refusal_is_recognized_by_its_code_or_where_it_is_relayed_by_its_text(
    error: psycopg.Error, expected: tuple[bool, bool]
) -> None:
    assert (is_duplicate(error), lacks_partition(error)) == expected
