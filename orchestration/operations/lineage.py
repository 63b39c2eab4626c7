"""Which model is built from which, according to dbt's manifest."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from orchestration.operations.build import BuildError, code_digest, dbt_environment, environment
from warehouse.settings import settings

MANIFEST = "manifest.{digest}.json"


@cache
def manifest_path() -> Path:
    """Return the path of the manifest of this code, which dbt makes once. Raises BuildError.

    The one that dbt itself writes is of whatever code it ran last, and is not written in one step.
    """
    target = settings().dbt_target
    path = target / MANIFEST.format(digest=code_digest())
    if not path.exists():
        from dbt.cli.main import dbtRunner

        with environment(dbt_environment()):
            parsed = dbtRunner().invoke(["--quiet", "parse"])
        if not parsed.success:
            raise BuildError(f"dbt can't read its project: {parsed.exception}")
        with TemporaryDirectory(dir=target) as folder:
            written = Path(folder, path.name)
            parsed.result.write(str(written))
            # In one step: another process may read or write it as well.
            written.replace(path)
        for other in target.glob(MANIFEST.format(digest="*")):
            if other != path:
                other.unlink(missing_ok=True)
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
