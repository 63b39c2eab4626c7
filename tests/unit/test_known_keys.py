"""What a server does to find a key, whatever text it is given."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from warehouse.keys import Key, KeyKind, KnownKeys, copy_of_keys, digest_of, encode_keys


def key_of(digit: str) -> str:
    return f"read_{digit * 12}_{digit * 43}"


VALID, EXPIRED, UNKNOWN = key_of("1"), key_of("2"), key_of("3")
OTHER_SECRET = f"{VALID[:-1]}x"


@pytest.fixture
def keys(tmp_path: Path) -> KnownKeys:
    ends = {VALID: timedelta(days=1), EXPIRED: timedelta(days=-1)}
    copy_of_keys(tmp_path).write_bytes(
        encode_keys(
            [
                Key(
                    text.split("_")[1], KeyKind.READ, digest_of(text), None, frozenset(), "acme",
                    600, datetime.now(UTC) + end,
                )
                for text, end in ends.items()
            ]
        )
    )  # fmt: skip
    known = KnownKeys(tmp_path)
    known.refresh()
    return known


def steps(keys: KnownKeys, given: str) -> list[tuple[str, int]]:
    """Return which lines were run to find a key, in their order."""
    lines: list[tuple[str, int]] = []

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            lines.append((frame.f_code.co_name, frame.f_lineno))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        keys.find(given)
    finally:
        sys.settrace(before)
    return lines


def test_a_key_is_found_by_its_whole_text_until_it_expires(keys: KnownKeys) -> None:
    found = keys.find(VALID)
    assert found is not None
    assert found.key_id == "1" * 12
    for other in (EXPIRED, UNKNOWN, OTHER_SECRET, "", "read_", VALID * 3, "\ud800", VALID.upper()):
        assert keys.find(other) is None


@pytest.mark.parametrize("given", [EXPIRED, UNKNOWN, OTHER_SECRET, "no key", ""])
def test_a_key_that_is_refused_takes_the_steps_of_one_that_is_found(
    keys: KnownKeys, given: str
) -> None:
    # A key that was revoked is not in the copy: it is an unknown one.
    taken = steps(keys, VALID)
    assert "digest_of" in {name for name, _ in taken}
    assert steps(keys, given) == taken
