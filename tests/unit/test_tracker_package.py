"""The tracker's package: what is committed in dist/ is what the source makes, and it is small."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pytest

from tests.support.node import npm
from warehouse.settings import PROJECT_DIR

TRACKER = PROJECT_DIR / "tracker"
LIMIT_BYTES = 4_096


@pytest.mark.parametrize("name", ["tracker.js", "tracker.mjs", "consent-banner.js"])
def test_a_built_file_has_four_kilobytes_at_most_when_it_is_compressed(name: str) -> None:
    assert len(gzip.compress((TRACKER / "dist" / name).read_bytes(), 9, mtime=0)) <= LIMIT_BYTES


def test_what_is_committed_is_what_the_source_makes(tmp_path: Path) -> None:
    copy = tmp_path / "tracker"
    shutil.copytree(
        TRACKER, copy, ignore=shutil.ignore_patterns("node_modules", "build", "dist", "demo")
    )
    npm(copy, "ci")
    npm(copy, "run", "build")
    committed, built = (
        {path.name: path.read_text() for path in (folder / "dist").iterdir()}
        for folder in (TRACKER, copy)
    )
    assert built == committed, "run `make tracker` and commit tracker/dist"


def test_the_lock_file_names_versions_and_no_addresses() -> None:
    text = (TRACKER / "package-lock.json").read_text()
    packages = json.loads(text)["packages"]
    assert "resolved" not in text
    assert "://" not in text
    assert all("version" in package for package in packages.values())


def test_it_needs_nothing_at_run_time() -> None:
    package = json.loads((TRACKER / "package.json").read_text())
    assert "dependencies" not in package
    for version in package["devDependencies"].values():
        assert version[0].isdigit(), "tools are pinned: another version builds another file"
