"""Which package may import which: the layers of docs/architecture.md, held by this test."""

from __future__ import annotations

import ast
import tomllib
from fnmatch import fnmatch
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from warehouse.settings import PROJECT_DIR

# Each package may import itself and these; the longest prefix counts.
ALLOWED = {
    "warehouse": set(),
    "ingestion": {"warehouse"},
    "expectations": {"warehouse", "ingestion"},
    "orchestration.operations": {"warehouse", "ingestion", "expectations"},
    "orchestration.definitions": {
        "warehouse",
        "ingestion",
        "expectations",
        "orchestration.operations",
    },
    "orchestration.serve": {
        "warehouse",
        "orchestration.operations",
        "orchestration.definitions.instance",
    },
    "orchestration.cli": {
        "warehouse",
        "ingestion",
        "expectations",
        "orchestration.operations",
        "orchestration.serve",
        "serving",
    },
    "serving": {"warehouse", "ingestion", "expectations", "orchestration.operations"},
}
# The processes of `warehouse serve` migrate and write the docs as the commands do.
OURS = {"warehouse", "ingestion", "expectations", "orchestration", "serving", "tests"}


def modules() -> dict[str, Path]:
    """Return the product's modules by their dotted name."""
    found = {}
    for top in ("warehouse", "ingestion", "expectations", "orchestration", "serving"):
        for path in (PROJECT_DIR / top).rglob("*.py"):
            parts = path.relative_to(PROJECT_DIR).with_suffix("").parts
            found[".".join(part for part in parts if part != "__init__")] = path
    return found


def imported(source: str, known: set[str]) -> set[str]:
    """Return the modules of the product that a source imports, wherever the import stands."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                found.add(name if name in known else node.module)
    return {name for name in found if name.partition(".")[0] in OURS}


def may_import(module: str, other: str) -> bool:
    """Return whether the layers allow one module to import another."""
    package = max((p for p in ALLOWED if is_in(module, p)), key=len, default=None)
    return package is None or any(is_in(other, p) for p in {package, *ALLOWED[package]})


def is_in(module: str, package: str) -> bool:
    """Return whether a module is a package or lies in it."""
    return module == package or module.startswith(f"{package}.")


def test_every_module_belongs_to_a_layer() -> None:
    roots = {"orchestration"}
    assert [
        name
        for name in modules()
        if name not in roots and not any(is_in(name, package) for package in ALLOWED)
    ] == []


@pytest.mark.parametrize("module", sorted(modules()))
def test_a_module_imports_only_what_its_layer_may(module: str) -> None:
    known = modules()
    others = imported(known[module].read_text("utf-8"), set(known))
    assert [other for other in sorted(others) if not may_import(module, other)] == []


def test_no_module_imports_in_a_circle() -> None:
    known = modules()
    graph = {
        name: imported(path.read_text("utf-8"), set(known)) - {name} for name, path in known.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize(
    ("module", "other", "allowed"),
    [
        ("warehouse.database", "ingestion.load.ledger", False),
        ("ingestion.load.loader", "orchestration.operations.build", False),
        ("orchestration.operations.build", "orchestration.cli.output", False),
        ("orchestration.definitions.checks", "orchestration.cli.output", False),
        ("orchestration.cli.build", "orchestration.operations.build", True),
        ("ingestion.load.loader", "warehouse.database", True),
        ("serving.app", "orchestration.cli.output", False),
        ("serving.app", "orchestration.definitions.checks", False),
        ("serving.alerts", "orchestration.operations.alerts", True),
    ],
)
def test_the_layers_are_those_of_the_architecture(module: str, other: str, allowed: bool) -> None:
    assert may_import(module, other) is allowed


def test_every_file_that_is_no_module_is_package_data() -> None:
    setup = tomllib.loads((PROJECT_DIR / "pyproject.toml").read_text("utf-8"))
    packaged = setup["tool"]["setuptools"]["package-data"]
    left_out = [
        str(path)
        for package, patterns in packaged.items()
        for path in (PROJECT_DIR / package).rglob("*")
        if path.is_file()
        and path.suffix not in {".py", ".pyc"}
        and path.name != ".sqlfluff"
        and not any(
            # A star of setuptools is of one folder, two are of any number.
            fnmatch(str(path.relative_to(PROJECT_DIR / package)), pattern.replace("**/", "*"))
            for pattern in patterns
        )
    ]
    assert left_out == []
