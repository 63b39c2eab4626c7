"""The site of the models: what analysts read there, and not what only builds need."""

from __future__ import annotations

from typing import Any

from orchestration.operations.build import DBT_PROJECT
from orchestration.operations.models_site import FAMILIES, OVERVIEW, make_readable
from orchestration.operations.queries import Parameter, Query

MARTS = DBT_PROJECT / "models" / "marts"


def node(kind: str, name: str, folder: str = "marts", **meta: Any) -> dict[str, Any]:
    return {
        "resource_type": kind,
        "name": name,
        "unique_id": f"{kind}.warehouse.{name}",
        "fqn": ["warehouse", folder, "clients", name],
        "description": f"One row per {name}. And more.",
        "meta": meta,
        "config": {"meta": meta},
    }


def a_site() -> dict[str, Any]:
    nodes = [
        node("model", "daily", access="client", cells=["client_id"], touched_by={"x": ["y"]}),
        node("model", "int_daily", "intermediate", cells=["client_id"]),
        node("test", "assert_it"),
        node("analysis", "ready", parameters={"rows": {"type": "integer"}}),
    ]
    manifest = {
        "nodes": {one["unique_id"]: one for one in nodes},
        "functions": {"function.warehouse.f": node("function", "f", access="user")},
        "docs": {OVERVIEW: {"block_contents": "# Marts\n\nFAMILIES\n\nQUERIES\n"}},
    }
    parameter = Parameter("rows", "integer", "How many rows.", 20)
    make_readable(manifest, {"ready": Query("ready", "What is ready.", (parameter,))})
    return manifest


def test_of_what_a_model_declares_readers_see_who_may_read_it() -> None:
    nodes = a_site()["nodes"]
    shown = {name: (one["meta"], one["config"]["meta"]) for name, one in nodes.items()}
    of_client = {"readers": "analysts; a tenant its client's rows"}
    assert shown == {
        "model.warehouse.daily": (of_client, of_client),
        "model.warehouse.int_daily": ({"readers": "builds only"},) * 2,
        "test.warehouse.assert_it": ({}, {}),
        "analysis.warehouse.ready": ({}, {}),
    }


def test_the_overview_lists_marts_by_family_and_queries_with_a_sentence_each() -> None:
    text = a_site()["docs"][OVERVIEW]["block_contents"]
    mart = "- [daily](#!/model/model.warehouse.daily): One row per daily."
    assert f"{FAMILIES['clients']}\n\n{mart}\n" in text
    assert "- [ready](#!/analysis/analysis.warehouse.ready): What is ready." in text
    assert "int_daily" not in text


def test_the_page_of_a_query_says_how_to_run_it() -> None:
    description = a_site()["nodes"]["analysis.warehouse.ready"]["description"]
    assert "`warehouse query ready`" in description
    assert (
        "`--param rows=…` (integer, by default 20), in the SQL `$1`: How many rows." in description
    )


def test_every_folder_of_marts_is_a_family_of_the_overview() -> None:
    assert {path.name for path in MARTS.iterdir() if path.is_dir()} == set(FAMILIES)


def test_the_overview_has_places_for_the_lists() -> None:
    text = (DBT_PROJECT / "models" / "overview.md").read_text("utf-8")
    assert text.count("\nFAMILIES\n") == text.count("\nQUERIES\n") == 1
    assert text.count("FAMILIES") == text.count("QUERIES") == 1
