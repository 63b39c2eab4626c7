"""What is built from what, and what a failing check stops."""

from __future__ import annotations

import pytest

from orchestration.operations.lineage import blocking_checks, parents_of_models, with_ancestors

PARENTS = {
    "events": {"staging.raw_events"},
    "days": {"events"},
    "weeks": {"days"},
    "users": {"events"},
}


def test_parents_are_models_by_name_and_sources_with_their_schema() -> None:
    manifest = {
        "nodes": {
            "model.w.events": {
                "name": "events", "resource_type": "model",
                "depends_on": {"nodes": ["source.w.staging.raw_events"]},
            },
            "model.w.days": {
                "name": "days", "resource_type": "model",
                "depends_on": {"nodes": ["model.w.events", "seed.w.sites"]},
            },
            "seed.w.sites": {"name": "sites", "resource_type": "seed", "depends_on": {"nodes": []}},
        },
        "sources": {"source.w.staging.raw_events": {"schema": "staging", "name": "raw_events"}},
    }  # fmt: skip
    assert parents_of_models(manifest) == {
        "events": {"staging.raw_events"},
        "days": {"events", "sites"},
    }


def test_ancestors_are_all_that_something_is_built_from_and_it_itself() -> None:
    assert with_ancestors(["weeks"], PARENTS) == {"weeks", "days", "events", "staging.raw_events"}


@pytest.mark.parametrize(
    ("failing", "built", "blocking"),
    [
        ({"c": "days"}, ["weeks"], ["c"]),
        ({"c": "staging.raw_events"}, ["weeks"], ["c"]),
        # It is built, and tested, again.
        ({"c": "days"}, ["days", "weeks"], []),
        ({"c": "weeks"}, ["days"], []),
        ({"c": "users"}, ["weeks"], []),
        ({"b": "events", "a": "days"}, ["weeks"], ["a", "b"]),
    ],
)
def test_a_failing_check_blocks_what_is_built_from_its_model(
    failing: dict[str, str], built: list[str], blocking: list[str]
) -> None:
    assert blocking_checks(failing, built, PARENTS) == blocking
