"""Every mart is covered by the reference, column by column; no server is needed to see that."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import Any

import pytest
import yaml

from ingestion.load.entities import EntityKind
from tests.properties.traffic_streams import ingested
from tests.reference import ai_usage, business, clients, dimensions, operations, platform, traffic
from tests.support.mart_comparison import LEFT_OPEN, NOT_COMPARED, compared_columns
from tests.support.people import AS_OF, entities_of, story_of
from warehouse.settings import PROJECT_DIR

MARTS = PROJECT_DIR / "dbt_project" / "models" / "marts"
TABLES_AND_VIEWS = sorted(path.stem for path in MARTS.rglob("*.sql"))
CLIENT = "acme"
AT = AS_OF - timedelta(days=2)
NUMBERED = {"producer": "edge", "sequence": 1}


@cache
def _contract() -> dict[str, set[str]]:
    """The columns of every mart. dbt enforces them: tests/integration/test_dbt.py."""
    files = [yaml.safe_load(path.read_text("utf-8")) for path in MARTS.rglob("*.yml")]
    models = [model for file in files for model in file.get("models") or ()]
    return {
        model["name"]: {column["name"] for column in model["columns"]}
        for model in models
        if "columns" in model
    }


def _events() -> list[dict[str, Any]]:
    """Events that give every mart of the reference a row."""
    reading = {"metric_type": "cpu_usage", "metric_value": 1, "server_id": "s"}
    story = [
        *story_of(CLIENT),
        {"event": "analytics.export", "properties": {}},
        {"event": "system_metric", "properties": reading, "context": NUMBERED},
    ]
    others = {"timestamp": AT.isoformat(), "actor": {"client_id": CLIENT, "user_id": "u"}}
    return [
        others | event | {"event_id": f"00000000-0000-4000-8000-{number:012}"}
        for number, event in enumerate(story)
    ]


@pytest.fixture(scope="module")
def reported() -> dict[str, list[dict[str, Any]]]:
    events, entities = _events(), entities_of(CLIENT)
    tenants, users = entities[EntityKind.CLIENTS], entities[EntityKind.USERS]
    documents = entities[EntityKind.DOCUMENTS]
    return {
        **ai_usage.all_marts(events, users, documents, AS_OF),
        **business.all_marts(events, tenants, AS_OF),
        **clients.all_marts(events, tenants, users, AS_OF),
        **dimensions.all_marts(events, tenants, users, documents, AS_OF),
        **operations.all_marts(events, users, [], AS_OF),
        **platform.all_marts(events, tenants, AS_OF),
        **traffic.all_marts(ingested(events), AS_OF),
    }


def test_every_mart_is_compared_with_the_reference_or_named_with_the_reason_why_not(
    reported: dict[str, list[dict[str, Any]]],
) -> None:
    assert sorted([*reported, *NOT_COMPARED]) == TABLES_AND_VIEWS


@pytest.mark.parametrize("mart", sorted(set(TABLES_AND_VIEWS) - set(NOT_COMPARED)))
def test_the_reference_has_every_column_of_the_mart(
    reported: dict[str, list[dict[str, Any]]], mart: str
) -> None:
    assert reported[mart], "the events above give it no row"
    assert set(reported[mart][0]) == compared_columns(mart, _contract()[mart])


def test_columns_that_are_left_open_exist() -> None:
    contract = _contract()
    assert all(columns <= contract[mart] for mart, columns in LEFT_OPEN.items())
