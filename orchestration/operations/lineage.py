"""Which model is built from which, according to dbt's manifest."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from orchestration.operations.build import BuildError, code_digest, dbt_environment, environment
from warehouse.settings import settings


@cache
def manifest_path() -> Path:
    """Return the path of dbt's manifest, parsed anew after a change. Raises BuildError."""
    target = settings().dbt_target
    path, mark = target / "manifest.json", target / "manifest.digest"
    digest = code_digest()
    if not path.exists() or not mark.exists() or mark.read_text("utf-8") != digest:
        from dbt.cli.main import dbtRunner

        with environment(dbt_environment()):
            parsed = dbtRunner().invoke(["--quiet", "parse"])
        if not parsed.success:
            raise BuildError(f"dbt can't read its project: {parsed.exception}")
        mark.write_text(digest, "utf-8")
    return path


@cache
def manifest() -> Mapping[str, Any]:
    """Return dbt's manifest, read once."""
    return json.loads(manifest_path().read_bytes())


def parents_of_models(manifest: Mapping[str, Any]) -> dict[str, set[str]]:
    """Return the direct inputs of each model: sources as schema.table, all else by name."""
    nodes = manifest["nodes"]
    names = {id: node["name"] for id, node in nodes.items()}
    names |= {id: node["name"] for id, node in manifest.get("functions", {}).items()}
    names |= {id: f"{node['schema']}.{node['name']}" for id, node in manifest["sources"].items()}
    return {
        node["name"]: {names[parent] for parent in node["depends_on"]["nodes"]}
        for node in nodes.values()
        if node["resource_type"] == "model"
    }


def with_ancestors(names: Iterable[str], parents: Mapping[str, Collection[str]]) -> set[str]:
    """Return the names and all their direct and indirect inputs."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        if (name := waiting.pop()) not in found:
            found.add(name)
            waiting += parents.get(name, ())
    return found


def blocking_checks(
    failing: Mapping[str, str], built: Iterable[str], parents: Mapping[str, set[str]]
) -> list[str]:
    """Return the failing checks that block a build of some models.

    ``failing`` maps each check to its model. A check of a model that is itself built does not
    block: the build runs it again and stops there if it still fails.
    """
    building = set(built)
    above = with_ancestors(building, parents)
    return sorted(
        check for check, model in failing.items() if model in above and model not in building
    )
