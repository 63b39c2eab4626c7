"""One truth, whatever the path: loads and builds in any order end like one full rebuild.

Random streams of events and units are cut into batches and built in between, in every way that a
person can build; what comes out is held against a slow reference in plain Python and against a
full refresh.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from orchestration.operations.build import BuildOptions, build
from tests.conftest import Server
from tests.properties.any_path import few_cases
from tests.reference.stats import ACTIVE_WINDOW, Event, day_parts, instant, marketing_row
from tests.support.building import (
    FACTS,
    MODELS,
    build_at,
    days,
    dbt_runs,
    event,
    land,
    land_units,
    models_of_the_last_build,
    offsets,
    rows_of_models,
    start_afresh,
    stats_row,
    warm_warehouse,
)

MICROSECOND = timedelta(microseconds=1)


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# The instants that builds look from. Neighbours a microsecond apart, a midnight, and two that are
# 720 hours apart, across a change of clocks in most of Europe.
AS_OFS = (
    _at("2025-03-15T12:00"),
    _at("2025-03-15T12:00") + MICROSECOND,
    _at("2025-03-16T00:00"),
    _at("2025-03-31T06:30"),
    _at("2025-04-14T12:00"),
    _at("2025-04-14T12:00") + MICROSECOND,
    _at("2025-04-30T06:30"),
    _at("2025-06-01T00:00"),
)
# Where a rule can be read two ways: around each as_of, around the start of its window, and at the
# edges of days; and what is months late, or ahead of every build.
EDGES = (
    *(
        edge + nudge
        for as_of in AS_OFS
        for edge in (as_of, as_of - ACTIVE_WINDOW)
        for nudge in (-MICROSECOND, timedelta(), MICROSECOND)
    ),
    _at("2025-03-16T23:59:59.999999"),
    _at("2025-03-17T00:00"),
    _at("2024-11-30T23:59:59.999999"),
    _at("2025-01-01T00:00"),
    _at("2025-06-30T12:00"),
)
# `signup` is read by none of the models.
NAMES = ("session", "session", "chat", "chat", "pdf_download", "signup")

instants = st.sampled_from(EDGES) | st.datetimes(
    datetime(2025, 2, 10), datetime(2025, 6, 3), timezones=st.just(UTC)
)
events = st.builds(
    event,
    name=st.sampled_from(NAMES),
    at=instants,
    unit=st.sampled_from(("u1", "u2", "u3", "u4", "", None)),
    client=st.sampled_from(("acme", "beta", "_platform")),
    id=st.uuids(version=4).map(str),
)
window_days = st.dates(date(2025, 2, 10), date(2025, 6, 3)) | st.sampled_from(
    sorted({edge.date() for edge in EDGES})
)


class Warehouse(RuleBasedStateMachine):
    """Loads and builds in any order; each whole build is held against the reference."""

    connection: psycopg.Connection
    directory: Path

    def __init__(self) -> None:
        super().__init__()
        start_afresh(self.connection)
        self.loaded: list[Event] = []
        self.units: set[str] = set()
        # Index of the as_of that the furthest model stands at.
        self.stands: int | None = None
        self.is_whole = False

    def _ahead(self, steps: int) -> int:
        return min((self.stands or 0) + steps, len(AS_OFS) - 1)

    @initialize(first=st.lists(events, min_size=1, max_size=8))
    def load_first(self, first: list[Event]) -> None:
        self.load(first)

    @rule(batch=st.lists(events, max_size=8))
    def load(self, batch: list[Event]) -> None:
        land(self.directory, batch)
        self.loaded += batch
        self.is_whole = False

    @rule(
        picks=st.lists(st.integers(0, 1_000), min_size=1, max_size=4),
        fresh=st.lists(events, max_size=2),
    )
    def load_some_again(self, picks: list[int], fresh: list[Event]) -> None:
        again = [self.loaded[pick % len(self.loaded)] for pick in picks] if self.loaded else []
        self.load([*again, *fresh, *again])

    @rule(
        units=st.sets(st.sampled_from(("u1", "u2", "u3", "v1", "v2")), min_size=1), on=window_days
    )
    def load_units(self, units: set[str], on: date) -> None:
        land_units(self.directory, sorted(units), datetime(on.year, on.month, on.day, tzinfo=UTC))
        self.units |= units
        self.is_whole = False

    @rule(steps=st.integers(0, 2), with_dbt=st.booleans())
    def build(self, steps: int, with_dbt: bool) -> None:
        self.stands = self._ahead(steps)
        build_at(AS_OFS[self.stands], with_dbt=with_dbt)
        self.is_whole = True
        self.check()

    @precondition(lambda self: self.is_whole)
    @rule(steps=st.integers(0, 2))
    def build_with_no_new_batch(self, steps: int) -> None:
        before, self.stands = self.stands, self._ahead(steps)
        newly_visible = [
            one for one in self.loaded if AS_OFS[before] <= instant(one) < AS_OFS[self.stands]
        ]
        begins_a_day = AS_OFS[before].date() < AS_OFS[self.stands].date()
        result = build_at(AS_OFS[self.stands])
        assert not result.ran_dbt
        if not newly_visible and not begins_a_day:
            assert models_of_the_last_build(self.connection) == {"int_platform_stats"}
        self.check()

    @precondition(lambda self: self.stands is not None)
    @rule(model=st.sampled_from(MODELS), steps=st.integers(0, 1))
    def build_one_model(self, model: str, steps: int) -> None:
        # Whether it moved as_of depends on how far its upstream models are: a later build may go
        # to the same instant or any after it.
        self.stands = self._ahead(steps)
        build_at(AS_OFS[self.stands], select=model)
        self.is_whole = False

    @precondition(lambda self: self.stands is not None)
    @rule(start=window_days, length=st.sampled_from((1, 1, 2, 40)), with_dbt=st.booleans())
    def build_window(self, start: date, length: int, with_dbt: bool) -> None:
        before = offsets(self.connection)
        with dbt_runs(with_dbt):
            build(BuildOptions(start=start, end=start + timedelta(days=length)))
        assert offsets(self.connection) == before
        if self.is_whole:
            self.check()

    @rule(position=st.integers(0, len(AS_OFS) - 1), with_dbt=st.booleans())
    def refresh(self, position: int, with_dbt: bool) -> None:
        self.stands = position
        build_at(AS_OFS[position], full_refresh=True, with_dbt=with_dbt)
        self.is_whole = True
        self.check()

    @precondition(lambda self: self.stands is not None)
    @rule(model=st.sampled_from(MODELS), position=st.integers(0, len(AS_OFS) - 1))
    def refresh_one_model(self, model: str, position: int) -> None:
        build_at(AS_OFS[position], full_refresh=True, select=model)
        furthest = max(as_of for _, as_of in offsets(self.connection).values() if as_of)
        self.stands = AS_OFS.index(furthest)
        self.is_whole = False

    def check(self) -> None:
        """Hold the rows against the reference, and the offsets against the ledger."""
        as_of = AS_OFS[self.stands]
        assert stats_row(self.connection) == marketing_row(self.loaded, self.units, as_of)
        assert days(self.connection) == day_parts(self.loaded, as_of)
        newest = self.connection.execute(
            "select max(batch_seq) from staging.event_batches"
        ).fetchone()
        found = offsets(self.connection)
        assert set(MODELS) <= set(found)
        assert set(found.values()) == {(newest[0], None), (newest[0], as_of)}
        assert all(found[model] == (newest[0], None) for model in FACTS.values())

    def teardown(self) -> None:
        self.build(0, with_dbt=False)
        increments = rows_of_models(self.connection)
        build_at(AS_OFS[self.stands], full_refresh=True)
        assert increments == rows_of_models(self.connection)
        for name, model in FACTS.items():
            assert {row["event_id"] for row in increments[model]} == {
                uuid.UUID(one["event_id"]) for one in self.loaded if one["event"] == name
            }


@pytest.fixture(scope="module")
def warm(servers: Callable[[int], Server]) -> Iterator[psycopg.Connection]:
    with warm_warehouse(servers(18), only=["int_platform_stats"]) as connection:
        yield connection


@pytest.mark.hypothesis
# Dozens of builds by a real dbt: minutes, more on a busy machine.
@pytest.mark.walk
@pytest.mark.timeout(1800)
def test_loads_and_builds_in_any_order_end_like_one_full_rebuild_and_like_the_reference(
    warm: psycopg.Connection, tmp_path: Path
) -> None:
    Warehouse.connection, Warehouse.directory = warm, tmp_path
    run_state_machine_as_test(
        Warehouse,
        settings=settings(few_cases(4), stateful_step_count=12),
    )
