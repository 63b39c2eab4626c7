"""The AI-usage marts: one truth, whatever the path.

Random chats, feedback and users land in batches in any order, with every kind of build in between;
in the end every mart is held, row for row, against a slow reference in plain Python, and against a
full refresh.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.load.entities import EntityKind
from tests.conftest import Server
from tests.properties.ai_streams import AS_OFS, Entity, Stream, chat_streams
from tests.properties.any_path import AnyPath, Entities, few_cases
from tests.reference.ai_usage import all_marts
from tests.reference.dimensions import document_rows
from tests.support.building import build_at, warm_warehouse
from tests.support.mart_comparison import assert_marts_match

MODELS = (
    "int_chat_events",
    "int_chat_feedback_events",
    "int_rated_chats",
    "int_pdf_download_events",
    "int_documents",
    "chat_events",
    "user_daily_usage",
    "user_monthly_usage",
    "document_usage",
    "system_daily_metrics",
)


@pytest.fixture(scope="module")
def warm(servers: Callable[[int], Server]) -> Iterator[psycopg.Connection]:
    with warm_warehouse(servers(18), only=["ai_usage", "documents"]) as connection:
        yield connection


# Dozens of builds by a real dbt: minutes, more on a busy machine.
@pytest.mark.walk
@pytest.mark.timeout(1800)
@few_cases(2)
@given(stream=chat_streams(), seed=st.integers(0, 2**32))
def test_any_path_ends_like_the_reference_and_like_a_full_refresh(
    warm: psycopg.Connection, tmp_path_factory: pytest.TempPathFactory, stream: Stream, seed: int
) -> None:
    events, users, documents = stream
    path = AnyPath(warm, tmp_path_factory.mktemp("batches"), seed, AS_OFS, MODELS)
    as_of = path.walk(
        events,
        Entities(EntityKind.USERS, users, _user_once),
        Entities(EntityKind.DOCUMENTS, documents, lambda _, document: document),
    )
    events, users, documents = map(path.left, stream)
    expected = all_marts(events, users, documents, as_of)
    expected["documents"] = document_rows(events, documents, as_of)
    assert_marts_match(warm, expected)
    build_at(as_of, full_refresh=True)
    assert_marts_match(warm, expected)


def _user_once(chance: random.Random, user: Entity) -> Entity:
    limit = chance.randint(0, 3)
    return user | {"updated_at": "2024-01-01T00:00:00Z", "monthly_message_limit": limit}
