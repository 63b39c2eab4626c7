"""Files through the real loader into a real database: every line has the outcome that it should."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expectations.checks import run_checks
from ingestion.load import chunks, loader
from ingestion.load.ledger import Counts
from ingestion.load.loader import LoadResult, load
from ingestion.load.workers import Workers
from ingestion.sources.files import open_source
from tests.conftest import ON_16, examples
from tests.properties.strategies import RAW_VALUES, RECEIVED_AT, files, number_literals
from tests.reference.intake import (
    MAX_LINE_BYTES,
    Key,
    Outcome,
    is_taken,
    read_json,
    unknown_members,
    validate_file,
)
from tests.support.lines import empty, line, read_exactly, rows, value
from tests.support.processes import until

WORKERS = (0, 1, 3)
counts_of_workers = st.sampled_from(WORKERS)

Outcomes = list[tuple[int, bytes, Outcome]]


class _Clock(datetime):
    """It is always RECEIVED_AT."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:
        return RECEIVED_AT.astimezone(tz)


@pytest.fixture(autouse=True)
def _small_chunks_at_a_known_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_LINES", 7)
    monkeypatch.setattr(loader, "datetime", _Clock)


@pytest.fixture(scope="module")
def pools() -> Iterator[dict[int, Workers]]:
    """Workers by their number, which validate from the first chunk on."""
    with ExitStack() as stack:
        started = {count: stack.enter_context(Workers(count)) for count in WORKERS}
        for count, workers in started.items():
            workers.start()
            until(lambda n=count, w=workers: w.has_idle or not n)
        yield started


def load_bytes(content: bytes, directory: Path, workers: Workers | None = None) -> LoadResult:
    path = directory / "events.ndjson"
    path.write_bytes(content)
    return load(open_source(str(path)), workers=workers)


def expected_counts(outcomes: Outcomes) -> Counts:
    kinds = Counter(outcome.kind for _, _, outcome in outcomes)
    return Counts(
        len(outcomes), kinds["accepted"], kinds["duplicate"], kinds["suppressed"], kinds["rejected"]
    )


def parts(line: bytes) -> tuple[Any, Any, Any]:
    """Actor, context without ip, and properties of a line, as JSON values."""
    content = read_exactly(line.decode())
    context = content.get("context")
    if context is not None:
        context = {name: member for name, member in context.items() if name != "ip"}
    return content["actor"], context, content.get("properties")


def landed(connection: psycopg.Connection) -> dict[Key, tuple[Any, ...]]:
    found = rows(
        connection,
        "select client_id, event_id::text, timestamp, event, actor::text, context::text, "
        "properties::text from staging.raw_events",
    )
    return {
        (client_id, event_id, timestamp): (event, *map(read_exactly, texts))
        for client_id, event_id, timestamp, event, *texts in found
    }


def assert_landed(connection: psycopg.Connection, outcomes: Outcomes) -> None:
    accepted = {
        outcome.key: (outcome.event, *parts(line))
        for _, line, outcome in outcomes
        if outcome.kind == "accepted"
    }
    assert landed(connection) == accepted
    assert value(connection, "select count(*) from staging.raw_events") == len(accepted)


def assert_quarantined(connection: psycopg.Connection, outcomes: Outcomes, times: int) -> None:
    expected = [
        (number, line[:MAX_LINE_BYTES], outcome.reasons)
        for number, line, outcome in outcomes
        if outcome.kind == "rejected"
    ]
    found = rows(
        connection,
        "select line_number, payload, reason, detail, received_at from staging.rejected_events "
        "order by reject_id",
    )
    assert [(number, bytes(payload)) for number, payload, *_ in found] == [
        (number, line) for number, line, _ in expected
    ] * times
    for (_, _, reasons), (_, _, reason, detail, received_at) in zip(
        expected * times, found, strict=True
    ):
        assert reason in reasons, detail
        assert detail
        assert received_at == RECEIVED_AT


def assert_counted(connection: psycopg.Connection, outcomes: Outcomes, times: int) -> None:
    suppressed = Counter(
        (outcome.event, outcome.day) for _, _, outcome in outcomes if outcome.kind == "suppressed"
    )
    found = rows(
        connection,
        "select event, day, sum(suppressed)::int from staging.suppressed_events "
        "group by event, day",
    )
    assert {(event, day): count for event, day, count in found} == {
        key: count * times for key, count in suppressed.items()
    }


def assert_unknown_members_counted(connection: psycopg.Connection, outcomes: Outcomes) -> None:
    expected = Counter(
        (outcome.event, member)
        for _, line, outcome in outcomes
        if outcome.kind == "accepted"
        for member in unknown_members(read_json(line.decode()))
    )
    found = rows(
        connection,
        "select event, case path when 'other' then path else path || '.' || name end, "
        "sum(events)::int from staging.unknown_members group by event, path, name",
    )
    assert {(event, member): events for event, member, events in found} == expected


def assert_sequences_used(connection: psycopg.Connection, used: Counter[Any]) -> None:
    found = rows(connection, "select producer, sequence, day from staging.used_sequences")
    assert Counter(found) == used


def sequences(outcomes: Outcomes) -> Counter[Any]:
    return Counter(
        outcome.sequence
        for _, _, outcome in outcomes
        if outcome.sequence and outcome.kind != "accepted"
    )


def assert_batches_add_up(connection: psycopg.Connection, result: LoadResult) -> None:
    batches = rows(
        connection,
        "select b.received, b.accepted, b.duplicates, b.suppressed, b.rejected, b.lines, "
        "(select count(*) from staging.raw_events as e where e.batch_id = b.batch_id), "
        "(select count(*) from staging.rejected_events as r where r.batch_seq = b.batch_seq), "
        "(select coalesce(sum(s.suppressed), 0) from staging.suppressed_events as s "
        "where s.batch_seq = b.batch_seq) "
        "from staging.event_batches as b where b.load_id = %s order by b.chunk",
        result.load_id,
    )
    total = Counts()
    for received, accepted, duplicates, suppressed, rejected, lines, *written in batches:
        assert received == accepted + duplicates + suppressed + rejected <= lines <= 7
        assert written == [accepted, rejected, suppressed]
        total += Counts(received, accepted, duplicates, suppressed, rejected)
    assert total == result.counts


@examples(30)
@given(content=files(), count=counts_of_workers, count_again=counts_of_workers)
def test_every_line_of_a_file_lands_is_refused_or_is_counted_as_the_contract_says(
    warehouse: psycopg.Connection,
    pools: dict[int, Workers],
    tmp_path: Path,
    content: bytes,
    count: int,
    count_again: int,
) -> None:
    empty(warehouse)
    seen: set[Key] = set()
    outcomes = validate_file(content, RECEIVED_AT, seen)
    result = load_bytes(content, tmp_path, pools[count])
    assert result.counts == expected_counts(outcomes)
    assert_landed(warehouse, outcomes)
    assert_quarantined(warehouse, outcomes, times=1)
    assert_counted(warehouse, outcomes, times=1)
    assert_sequences_used(warehouse, sequences(outcomes))
    assert_unknown_members_counted(warehouse, outcomes)
    assert_batches_add_up(warehouse, result)

    before = landed(warehouse)
    again = validate_file(content, RECEIVED_AT, seen)
    result = load_bytes(content, tmp_path, pools[count_again])
    assert result.counts == expected_counts(again)
    assert result.counts.accepted == 0
    assert landed(warehouse) == before
    assert_quarantined(warehouse, outcomes, times=2)
    assert_counted(warehouse, outcomes, times=2)
    assert_sequences_used(warehouse, sequences(outcomes) + sequences(again))
    assert_unknown_members_counted(warehouse, outcomes)
    assert_batches_add_up(warehouse, result)


@examples(15)
@given(
    first=files(max_lines=30),
    second=files(max_lines=30),
    counts=st.tuples(counts_of_workers, counts_of_workers),
)
def test_what_an_earlier_file_brought_is_a_duplicate_in_a_later_one(
    warehouse: psycopg.Connection,
    pools: dict[int, Workers],
    tmp_path: Path,
    first: bytes,
    second: bytes,
    counts: tuple[int, int],
) -> None:
    pool, another = (pools[count] for count in counts)
    empty(warehouse)
    seen: set[Key] = set()
    outcomes = validate_file(first, RECEIVED_AT, seen)
    assert load_bytes(first, tmp_path, pool).counts == expected_counts(outcomes)
    later = validate_file(second, RECEIVED_AT, seen)
    assert load_bytes(second, tmp_path, another).counts == expected_counts(later)
    assert_landed(warehouse, outcomes + later)
    assert_unknown_members_counted(warehouse, outcomes + later)


@examples(10)
@given(content=files(max_lines=30))
@pytest.mark.parametrize("warehouse", [ON_16], indirect=True)
def test_the_oldest_server_takes_files_as_the_newest_does(
    warehouse: psycopg.Connection, tmp_path: Path, content: bytes
) -> None:
    empty(warehouse)
    outcomes = validate_file(content, RECEIVED_AT)
    assert load_bytes(content, tmp_path).counts == expected_counts(outcomes)
    assert_landed(warehouse, outcomes)
    assert_quarantined(warehouse, outcomes, times=1)


@examples(300)
@given(literal=st.sampled_from(RAW_VALUES) | number_literals(), is_planned=st.booleans())
@pytest.mark.parametrize("warehouse", [ON_16, 18], indirect=True)
def test_jsonb_holds_every_number_that_is_taken(
    warehouse: psycopg.Connection, literal: str, is_planned: bool
) -> None:
    is_number = re.fullmatch(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?", literal)
    if is_number and is_taken(literal, is_planned=is_planned):
        assert value(warehouse, "select pg_input_is_valid(%s, 'jsonb')", literal)


def failing_checks() -> list[str]:
    """Those checks of what landed since the last time that fail."""
    results = run_checks(suites=("raw_events", "event_batches"))
    return [result.check_name for result in results if not result.passed]


@pytest.mark.deep
@examples(6)
@given(content=files())
def test_no_file_makes_a_check_of_what_landed_fail(
    warehouse: psycopg.Connection, tmp_path: Path, content: bytes
) -> None:
    load_bytes(content, tmp_path)
    assert failing_checks() == []


HOSTILE = [
    b'"context": {"ip": null}',
    b'"context": {"ip": "192.0.2.1", "ip": null}',
    b'"context": {"ip": null, "\\u0069p": null}',
    b'"context": {"ip": "192.0.2.1"}, "context": {"\\u0069\\u0070": null}',
    b'"context": {"ip": 5, "ip": ""}',
    b'"context": null, "c\\u006fntext": {"ip": null}',
    b'"context": {"IP": null, "ip ": 1, "p": {"ip": 1}}',
    b'"properties": null, "properties": {}',
    b'"properties": [], "properties": null',
    b'"event": "session", "event": "signup"',
    b'"actor": {"client_id": "a"}, "actor": {"client_id": "b", "client\\u005fid": "c"}',
    b'"actor": {"client_id": "\\ud83d\\ude00", "client_id": "\xc3\xbc"}',
    b'"timestamp": "1999-12-31T23:59:59Z", "timestamp": "2016-02-01T00:00:00Z"',
    b'"timestamp": "1999-12-31T23:59:59.9999999Z"',
    b'"event_id": null, "event_id": null',
]  # fmt: skip


def test_no_hostile_line_makes_a_check_of_what_landed_fail(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    lines = []
    for number, members in enumerate(HOSTILE):
        whole = line(number, event="signup").replace(b'"context"', b'"context": null, "context"')
        lines.append(whole.removesuffix(b"}\n") + b", " + members + b"}\n")
    content = b"".join(lines)
    outcomes = validate_file(content, RECEIVED_AT)
    counts = load_bytes(content, tmp_path).counts
    assert counts == expected_counts(outcomes)
    assert counts.accepted == len(HOSTILE) - 1
    assert_landed(warehouse, outcomes)
    assert failing_checks() == []
