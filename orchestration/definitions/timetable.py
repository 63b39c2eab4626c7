"""When each scheduled job runs, in UTC, and which of them keep a model fresh."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from orchestration.operations.lineage import manifest, parents_of_models, with_ancestors


@dataclass(frozen=True, slots=True)
class BuildJob:
    """A scheduled job that builds; ``target`` is a model, a folder of marts, or None for all."""

    name: str
    cron: str
    when: str
    target: str | None

    @property
    def schedule(self) -> str:
        """The name of its schedule."""
        return f"{self.name}_schedule"


MARKETING_ROW = BuildJob("marketing_row", "*/10 * * * *", "every 10 minutes", "int_platform_stats")
TRAFFIC = BuildJob("traffic", "5 * * * *", "hourly at :05", "marts.traffic")
OPERATIONS = BuildJob("operations", "35 * * * *", "hourly at :35", "marts.operations")
EVERYTHING = BuildJob("everything", "15 2 * * *", "daily at 02:15 UTC", None)
BUILD_JOBS = (MARKETING_ROW, TRAFFIC, OPERATIONS, EVERYTHING)
# Jobs that build nothing.
EXPIRY_CRON = "3 * * * *"
VERIFICATION_CRON = "15 4 * * *"
WATCH_CRON = "7-59/10 * * * *"
# Shortly before the marketing row is built.
PULL_CRON, PULL_WHEN = "8-59/10 * * * *", "every 10 minutes"


@cache
def parents() -> Mapping[str, set[str]]:
    """Return the direct inputs of each model."""
    return parents_of_models(manifest())


@cache
def lineage_of(target: str) -> frozenset[str]:
    """Return a model, or the marts of a folder, with all nodes that they are built from."""
    named = [
        node["name"]
        for node in manifest()["nodes"].values()
        if node["resource_type"] == "model"
        and target in {node["name"], ".".join(node["fqn"][1:-1])}
    ]
    # Without sources, which have a schema before their name.
    return frozenset(name for name in with_ancestors(named, parents()) if "." not in name)


def kept_fresh_by(node: Mapping[str, Any]) -> str:
    """Return the jobs that build a dbt node, with their schedules, as asset pages show them."""
    jobs = [
        job for job in BUILD_JOBS if job.target is None or node["name"] in lineage_of(job.target)
    ]
    return "; ".join(shown(job) for job in jobs)


def shown(job: BuildJob) -> str:
    """Return a job with its schedule as one phrase."""
    return f"job {job.name}, {job.when} ({job.schedule})"
