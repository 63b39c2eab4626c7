"""The marts of the business and of operations: one truth, whatever the path.

Random calls, readings, payments and uses land in batches in any order, with every kind of build in
between; in the end every mart is held, row for row, against a slow reference in plain Python, and
against a full refresh.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.load.entities import EntityKind
from tests.conftest import Server
from tests.properties.any_path import AnyPath, Entities, few_cases
from tests.properties.operations_streams import (
    AS_OFS,
    Entity,
    Event,
    Stream,
    operations_streams,
)
from tests.reference import business, operations
from tests.reference.stats import instant
from tests.support.building import build_at, warm_warehouse
from tests.support.mart_comparison import assert_marts_match

MODELS = (
    "int_revenue_events",
    "int_credit_events",
    "int_builder_action_events",
    "int_dashboard_events",
    "int_api_request_events",
    "int_system_metric_events",
    "int_actor_days",
    "int_user_days",
    "int_window_users_daily",
    "int_events",
    "int_sequence_uses",
    "int_api_error_windows",
    "int_event_batches",
    "user_monthly_usage",
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
    "ingest_loss_daily",
    "ingest_reconciliation_daily",
)


@pytest.fixture(scope="module")
def warm(servers: Callable[[int], Server]) -> Iterator[psycopg.Connection]:
    with warm_warehouse(servers(18), only=["platform", "operations"]) as connection:
        yield connection


# Dozens of builds by a real dbt: minutes, more on a busy machine.
@pytest.mark.walk
@pytest.mark.deep
@pytest.mark.timeout(1800)
@few_cases(1)
@given(stream=operations_streams(), seed=st.integers(0, 2**32))
def test_any_path_ends_like_the_reference_and_like_a_full_refresh(
    warm: psycopg.Connection, tmp_path_factory: pytest.TempPathFactory, stream: Stream, seed: int
) -> None:
    events, tenants, users, other_lines = stream
    path = AnyPath(warm, tmp_path_factory.mktemp("batches"), seed, AS_OFS, MODELS)
    as_of = path.walk(
        [*events, *other_lines],
        Entities(EntityKind.CLIENTS, tenants, _once),
        Entities(EntityKind.USERS, users, lambda _, user: user),
    )
    events, tenants, users = map(path.left, (events, tenants, users))
    used = warm.execute('select producer, "sequence", day from staging.used_sequences').fetchall()
    expected = business.all_marts(events, tenants, as_of) | {
        "api_performance_hourly": operations.api_performance_hourly(events, as_of),
        "api_performance_daily": operations.api_performance_daily(events, as_of),
        "api_errors": operations.api_errors(events, as_of),
        "system_metrics_hourly": operations.system_metrics_hourly(events, as_of),
        "alert_history": operations.alert_history(events, users, as_of),
        "ingest_loss_daily": operations.ingest_loss_daily(events, used, as_of),
        "dashboard_summary": operations.dashboard_summary(events, as_of),
    }
    for full_refresh in (False, True):
        if full_refresh:
            build_at(as_of, full_refresh=True)
        assert_marts_match(warm, expected)
        hold_functions(warm, events, as_of)
        hold_reconciliation(warm, events, as_of)


def hold_functions(connection: psycopg.Connection, events: list[Event], as_of: datetime) -> None:
    """Hold what the SQL functions return against the reference."""

    def returned(call: str, *arguments: object) -> list[tuple[object, ...]]:
        statement = f"select * from marts.{call}"  # noqa: S608 (the calls below)
        return connection.execute(statement, arguments).fetchall()

    for days in (30, 1, 0):
        assert returned("calculate_conversion_rate(%s)", days) == [
            (operations.calculate_conversion_rate(events, as_of, days),)
        ]
        for user_id in ("ann", "nobody", "", None):
            assert returned("calculate_user_engagement(%s, %s)", user_id, days) == [
                (operations.calculate_user_engagement(events, as_of, user_id, days),)
            ]
    today = as_of.astimezone(UTC).date()
    for day in (today, today - timedelta(days=1), None):
        assert returned("get_daily_active_users(%s)", day) == [
            (operations.get_daily_active_users(events, as_of, day),)
        ]
    assert returned("get_daily_active_users()") == returned("get_daily_active_users(%s)", today)
    assert returned("calculate_conversion_rate()") == returned("calculate_conversion_rate(30)")
    for client_id in ("acme", "_platform", "nobody"):
        span = (today - timedelta(days=60), today)
        funnel = operations.get_conversion_funnel(events, as_of, client_id, *span)
        assert returned("get_conversion_funnel(%s, %s, %s)", client_id, *span) == [
            tuple(stage.values()) for stage in funnel
        ]


def hold_reconciliation(
    connection: psycopg.Connection, events: list[Event], as_of: datetime
) -> None:
    """Every event is where the models read, at `as_of` or ahead of it; every line is counted."""
    visible = sum(instant(event) < as_of for event in events)
    (received,) = connection.execute(
        "select sum(received) from staging.event_batches where kind = 'events'"
    ).fetchone()
    totals = connection.execute(
        "select sum(received), sum(accepted - erased), sum(modelled), sum(not_yet_visible), "
        "sum(unexplained) from marts.ingest_reconciliation_daily"
    ).fetchone()
    if received is None:
        assert totals == (None,) * 5
    else:
        assert totals == (received, len(events), visible, len(events) - visible, 0)


def _once(chance: random.Random, tenant: Entity) -> Entity:
    """A tenant as it once was: of another age, never churned."""
    created_at = chance.choice(AS_OFS).isoformat()
    return {name: value for name, value in tenant.items() if name != "churned_at"} | {
        "updated_at": "2024-01-01T00:00:00Z",
        "created_at": created_at,
        **({"status": "active"} if tenant.get("status") == "churned" else {}),
    }
