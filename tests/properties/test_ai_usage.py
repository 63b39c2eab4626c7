"""The AI-usage marts: one truth, whatever the path.

Random chats, feedback and users land in batches in any order, with every kind of build in between;
in the end every mart is held, row for row, against a slow reference in plain Python, and against a
full refresh.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from psycopg import sql
from psycopg.rows import dict_row

from ingestion.entities import EntityKind
from orchestration.build import BuildOptions, build
from tests.building import build_at, land, land_entities, start_afresh, warm_warehouse
from tests.conftest import Server
from tests.properties.ai_streams import AS_OFS, Stream, chat_streams
from tests.reference.ai_usage import all_marts

Row = dict[str, Any]

MODELS = (
    "int_chat_events",
    "int_chat_feedback_events",
    "int_rated_chats",
    "chat_events",
    "user_daily_usage",
    "user_monthly_usage",
    "document_usage",
    "system_daily_metrics",
)


@pytest.fixture(scope="module")
def warm(servers: Callable[[int], Server]) -> Iterator[psycopg.Connection]:
    with warm_warehouse(servers(18)) as connection:
        yield connection


def rows_of(connection: psycopg.Connection, mart: str, columns: list[str]) -> list[Row]:
    """Return a mart's rows with these columns, in a comparable form and order."""
    found = (
        connection.cursor(row_factory=dict_row)
        .execute(
            sql.SQL("select {} from {}").format(
                sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Identifier("marts", mart)
            )
        )
        .fetchall()
    )
    return comparable(found)


def comparable(rows: list[Row]) -> list[Row]:
    return sorted(({name: _plain(value) for name, value in row.items()} for row in rows), key=repr)


def _plain(value: object) -> object:
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, Decimal | int) and not isinstance(value, bool):
        return Decimal(value).normalize() + 0
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(value[name]) for name in sorted(value)}
    return value


def hold_against_the_reference(
    connection: psycopg.Connection, stream: Stream, as_of: datetime
) -> None:
    for mart, expected in all_marts(*stream, as_of).items():
        columns = list(expected[0]) if expected else ["*"]
        if not expected:
            (count,) = connection.execute(
                sql.SQL("select count(*) from {}").format(sql.Identifier("marts", mart))
            ).fetchone()
            assert count == 0, mart
            continue
        assert rows_of(connection, mart, columns) == comparable(expected), mart


# Dozens of builds by a real dbt: minutes, more on a busy machine.
@pytest.mark.timeout(1800)
@settings(
    derandomize=True,
    max_examples=5,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    # A case takes seconds: a failure is reported as it was found.
    phases=(Phase.generate,),
)
@given(stream=chat_streams(), seed=st.integers(0, 2**32))
def test_any_path_ends_like_the_reference_and_like_a_full_refresh(
    warm: psycopg.Connection, tmp_path_factory: pytest.TempPathFactory, stream: Stream, seed: int
) -> None:
    chance = random.Random(seed)
    directory = tmp_path_factory.mktemp("batches")
    start_afresh(warm)
    events, users, documents = stream
    looks = sorted(chance.sample(range(len(AS_OFS)), chance.randint(1, 4)))
    for position in looks:
        for batch in _batches(chance, events, parts=len(looks)):
            land(directory, batch)
        if chance.random() < 0.5:
            _land_some(chance, directory, users, documents)
        build_at(AS_OFS[position])
        _detour(chance, AS_OFS[position])
    land(directory, events)
    land_entities(directory, EntityKind.USERS, users)
    land_entities(directory, EntityKind.DOCUMENTS, documents)
    as_of = AS_OFS[chance.randint(looks[-1], len(AS_OFS) - 1)]
    build_at(as_of)
    hold_against_the_reference(warm, stream, as_of)
    build_at(as_of, full_refresh=True)
    hold_against_the_reference(warm, stream, as_of)


def _batches(chance: random.Random, events: list[Row], parts: int) -> list[list[Row]]:
    """Some of the events, in any order, some of them twice, as a batch or two."""
    some = chance.sample(events, len(events) * chance.randint(0, 2) // (parts + 1))
    again = chance.sample(some, len(some) // 4)
    cut = chance.randint(0, len(some))
    return [some[:cut], some[cut:] + again]


def _land_some(
    chance: random.Random, directory: Path, users: list[Row], documents: list[Row]
) -> None:
    """Some of the entities, users as they once were."""
    once = [
        user | {"updated_at": "2024-01-01T00:00:00Z", "monthly_message_limit": chance.randint(0, 3)}
        for user in users
    ]
    land_entities(directory, EntityKind.USERS, chance.sample(once, len(once) // 2))
    land_entities(directory, EntityKind.USERS, chance.sample(users, len(users) // 2))
    land_entities(directory, EntityKind.DOCUMENTS, chance.sample(documents, len(documents) // 2))


def _detour(chance: random.Random, as_of: datetime) -> None:
    """Something that must not matter: a model alone, a window again, a refresh of one."""
    match chance.randint(0, 5):
        case 0:
            build_at(as_of, select=chance.choice(MODELS))
        case 1:
            start = as_of.date() - timedelta(days=chance.randint(0, 40))
            build(BuildOptions(start=start, end=start + timedelta(days=chance.randint(1, 40))))
        case 2:
            build_at(as_of, full_refresh=True, select=chance.choice(MODELS))
