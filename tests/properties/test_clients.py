"""The marts of clients and of the platform: one truth, whatever the path.

Random leads, messages, subscriptions and tenants land in batches in any order, with every kind of
build in between; in the end every mart is held, row for row, against a slow reference in plain
Python, and against a full refresh.
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
from tests.properties.any_path import AnyPath, Entities, few_cases
from tests.properties.client_streams import AS_OFS, Entity, Stream, client_streams
from tests.reference import clients, dimensions, platform
from tests.support.building import build_at, warm_warehouse
from tests.support.mart_comparison import assert_marts_match

MODELS = (
    "int_lead_events",
    "int_actor_days",
    "int_subscription_events",
    "int_clients",
    "int_users",
    "int_active_months",
    "int_inbound_messages",
    "int_lead_creations",
    "int_client_activity_daily",
    "int_lead_stage_changes_daily",
    "int_subscription_spells",
    "analytics_daily",
    "analytics_weekly",
    "analytics_monthly",
    "funnel_events",
    "lead_funnel",
    "conversion_funnel",
    "lead_cohort_funnel",
    "lead_sources",
    "response_time_distribution",
    "client_cohorts",
    "cohort_retention",
    "platform_analytics",
    "plan_adoption_daily",
)


@pytest.fixture(scope="module")
def warm(servers: Callable[[int], Server]) -> Iterator[psycopg.Connection]:
    with warm_warehouse(servers(18), only=["clients", "platform", "dimensions"]) as connection:
        yield connection


# Dozens of builds by a real dbt: minutes, more on a busy machine.
@pytest.mark.walk
@pytest.mark.timeout(1800)
@few_cases(1)
@given(stream=client_streams(), seed=st.integers(0, 2**32))
def test_any_path_ends_like_the_reference_and_like_a_full_refresh(
    warm: psycopg.Connection, tmp_path_factory: pytest.TempPathFactory, stream: Stream, seed: int
) -> None:
    events, tenants, users = stream
    path = AnyPath(warm, tmp_path_factory.mktemp("batches"), seed, AS_OFS, MODELS)
    as_of = path.walk(
        events,
        Entities(EntityKind.CLIENTS, tenants, _once),
        Entities(EntityKind.USERS, users, _once),
    )
    events, tenants, users = map(path.left, stream)
    expected = {
        **clients.all_marts(events, tenants, users, as_of),
        **platform.all_marts(events, tenants, as_of),
        "clients": dimensions.client_rows(events, tenants, as_of),
        "users": dimensions.user_rows(events, users, as_of),
    }
    assert_marts_match(warm, expected)
    build_at(as_of, full_refresh=True)
    assert_marts_match(warm, expected)


def _once(chance: random.Random, entity: Entity) -> Entity:
    """An entity as it once was: of another age, never churned."""
    created_at = chance.choice(AS_OFS).isoformat()
    return {name: value for name, value in entity.items() if name != "churned_at"} | {
        "updated_at": "2024-01-01T00:00:00Z",
        "created_at": created_at,
        **({"status": "active"} if entity.get("status") == "churned" else {}),
    }
