"""The marts of the business and of operations: one truth, whatever the path.

Random calls, readings, payments and uses land in batches in any order, with every kind of build in
between; in the end every mart is held, row for row, against a slow reference in plain Python, and
against a full refresh.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.entities import EntityKind
from tests.building import build_at, warm_warehouse
from tests.conftest import Server
from tests.properties.any_path import AnyPath, Entities, few_cases, hold_against
from tests.properties.operations_streams import AS_OFS, Entity, Stream, operations_streams
from tests.reference import business, operations

MODELS = (
    "int_revenue_events",
    "int_credit_events",
    "int_builder_action_events",
    "int_dashboard_events",
    "int_api_request_events",
    "int_system_metric_events",
    "int_actor_days",
    "int_user_days",
    "int_client_costs_daily",
    "platform_analytics",
    "analytics_monthly",
    "business_metrics",
    "revenue_daily",
    "revenue_events",
    "credit_usage_daily",
    "builder_usage_daily",
    "dashboard_usage_daily",
    "unit_economics_monthly",
    "api_performance_hourly",
    "api_performance_daily",
    "api_errors",
    "system_metrics_hourly",
)


@pytest.fixture(scope="module")
def warm(servers: Callable[[int], Server]) -> Iterator[psycopg.Connection]:
    with warm_warehouse(servers(18), only=["platform", "operations"]) as connection:
        yield connection


# Dozens of builds by a real dbt: minutes, more on a busy machine.
@pytest.mark.timeout(1800)
@few_cases(3)
@given(stream=operations_streams(), seed=st.integers(0, 2**32))
def test_any_path_ends_like_the_reference_and_like_a_full_refresh(
    warm: psycopg.Connection, tmp_path_factory: pytest.TempPathFactory, stream: Stream, seed: int
) -> None:
    events, tenants, users, _ = stream
    path = AnyPath(warm, tmp_path_factory.mktemp("batches"), seed, AS_OFS, MODELS)
    as_of = path.walk(
        events,
        Entities(EntityKind.CLIENTS, tenants, _once),
        Entities(EntityKind.USERS, users, lambda _, user: user),
    )
    expected = business.all_marts(events, tenants, as_of) | {
        "api_performance_hourly": operations.api_performance_hourly(events, as_of),
        "api_performance_daily": operations.api_performance_daily(events, as_of),
        "api_errors": operations.api_errors(events, as_of),
        "system_metrics_hourly": operations.system_metrics_hourly(events, as_of),
    }
    hold_against(warm, expected)
    build_at(as_of, full_refresh=True)
    hold_against(warm, expected)


def _once(chance: random.Random, tenant: Entity) -> Entity:
    """A tenant as it once was: of another age, never churned."""
    created_at = chance.choice(AS_OFS).isoformat()
    return {name: value for name, value in tenant.items() if name != "churned_at"} | {
        "updated_at": "2024-01-01T00:00:00Z",
        "created_at": created_at,
        **({"status": "active"} if tenant.get("status") == "churned" else {}),
    }
