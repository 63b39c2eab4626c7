"""A part of the sample against the reference: every column of every mart, with values that differ.

Random walks draw streams of all shapes, in which much is rare: where a column is 0 in every row, a
wrong sum of it is 0 too. The stories of the sample are dense. So a part of it is built in steps and
compared, and each column has to hold more than one value there.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ingestion.load.entities import EntityKind
from ingestion.load.loader import load
from ingestion.sample.generate import write_sample
from ingestion.sources.files import open_source
from tests.conftest import Server
from tests.properties.traffic_streams import ingested
from tests.reference import (
    ai_usage,
    business,
    clients,
    dimensions,
    intake,
    operations,
    platform,
    traffic,
)
from tests.support.building import build_at, land_entities, warm_warehouse
from tests.support.mart_comparison import LEFT_OPEN, assert_marts_match
from tests.support.traffic_comparison import assert_traffic_matches, visitor_hash_of

Row = dict[str, Any]

AS_OF = datetime(2026, 5, 16, tzinfo=UTC)
STEPS = (AS_OF - timedelta(days=60), AS_OF - timedelta(days=7), AS_OF)
# Small clients, one of them known from its events alone.
CLIENTS = {"birchwood-electric", "northgate-roofing", "ashford-heating", "partner-sandbox"}
# Few, and of all clients: what becomes of subscriptions.
FROM_EVERYBODY = {
    "subscription_started", "subscription_changed", "subscription_cancelled", "revenue",
}  # fmt: skip
# Of the platform's own events one in so many: they are as many as those of all clients.
PLATFORM_THINNED = 40
# Columns with one value here, by mart; the random walks have more of them. The sample is of five
# months of a year, nobody handles its alerts, and no database of countries is set.
ONE_VALUE = {
    "alert_history": {"acknowledged_at", "acknowledged_by", "category", "resolved_by"},
    "api_errors": {"user_id"},
    "builder_usage_daily": {"users"},
    "client_cohorts": {
        "month_1_active", "month_6_active", "month_6_revenue_cents", "month_12_active",
        "month_12_revenue_cents",
    },
    "documents": {"created_at", "is_inferred"},
    "ingest_loss_daily": {"dropped"},
    "lead_cohort_funnel": {"is_mature"},
    "traffic_countries_daily": {"country"},
    "user_current_month": {"is_complete", "month", "year", "year_month"},
    "user_monthly_summary": {"year"},
    "user_monthly_usage": {"year"},
}  # fmt: skip


@pytest.fixture(scope="module")
def warm(servers: Callable[[int], Server]) -> Iterator[psycopg.Connection]:
    with warm_warehouse(servers(18)) as connection:
        yield connection


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[bytes], dict[str, list[Row]]]:
    """The chosen lines in any order, and the entities by kind."""
    files = write_sample(tmp_path_factory.mktemp("sample"))
    lines = [line for path in files.events for line in _lines(path)]
    platform = [line for line in lines if b'"_platform"' in line]
    chosen = [line for line in lines if _is_chosen(line)] + platform[::PLATFORM_THINNED]
    random.Random(1).shuffle(chosen)
    return chosen, {
        kind: [json.loads(line) for line in _lines(path)] for kind, path in files.entities.items()
    }


@pytest.mark.timeout(600)
def test_every_column_is_as_the_reference_says_and_has_more_than_one_value(
    warm: psycopg.Connection, tmp_path: Path, sample: tuple[list[bytes], dict[str, list[Row]]]
) -> None:
    lines, entities = sample
    for kind, rows in entities.items():
        land_entities(tmp_path, EntityKind(kind), rows)
    for number, as_of in enumerate(STEPS):
        part = tmp_path / f"{number}.ndjson"
        part.write_bytes(b"\n".join(lines[number :: len(STEPS)]))
        load(open_source(str(part)))
        build_at(as_of)

    hash_of = visitor_hash_of(warm)
    if hash_of is None:
        pytest.skip("midnight has passed: a visitor may be two")
    events = accepted(lines)
    of_traffic = traffic.all_marts(ingested(events, hash_of), AS_OF)
    used = warm.execute('select producer, "sequence", day from staging.used_sequences').fetchall()
    others = marts_but_traffic(events, entities, used)
    assert_traffic_matches(warm, events, of_traffic)
    assert_marts_match(warm, others)
    one_value = {
        mart: {
            column
            for column in rows[0].keys() - LEFT_OPEN.get(mart, set())
            if len({repr(row[column]) for row in rows}) == 1
        }
        for mart, rows in (others | of_traffic).items()
    }
    assert {mart: columns for mart, columns in one_value.items() if columns} == ONE_VALUE


def accepted(lines: list[bytes]) -> list[Row]:
    """Return the events that the reference accepts, each once."""
    seen: set[intake.Key] = set()
    now = datetime.now(UTC)
    return [
        json.loads(line) for line in lines if intake.validate(line, now, seen).kind == "accepted"
    ]


def marts_but_traffic(
    events: list[Row], entities: dict[str, list[Row]], used: list[operations.Use]
) -> dict[str, list[Row]]:
    """Return the rows of the reference for every mart but those of traffic, by name."""
    tenants, users, documents = (
        newest(entities[kind], key)
        for kind, key in (
            ("clients", "client_id"),
            ("users", "user_id"),
            ("documents", "document_id"),
        )
    )
    return {
        **ai_usage.all_marts(events, users, documents, AS_OF),
        **business.all_marts(events, tenants, AS_OF),
        **clients.all_marts(events, tenants, users, AS_OF),
        **dimensions.all_marts(events, tenants, users, documents, AS_OF),
        **operations.all_marts(events, users, used, AS_OF),
        **platform.all_marts(events, tenants, AS_OF),
    }


def newest(rows: list[Row], key: str) -> list[Row]:
    """Return the newest version of each entity, which the reference takes alone."""
    return list({row[key]: row for row in sorted(rows, key=itemgetter("updated_at"))}.values())


def _lines(path: Path) -> list[bytes]:
    return b"".join(open_source(str(path)).blocks(0)).splitlines()


def _is_chosen(line: bytes) -> bool:
    try:
        event = json.loads(line)
        return event["actor"]["client_id"] in CLIENTS or event["event"] in FROM_EVERYBODY
    except (ValueError, LookupError, TypeError):
        # Broken lines are a part of the sample too.
        return True
