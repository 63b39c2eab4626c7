"""The demo's warehouse and its API, as the commands that people type make and serve them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import requests

from tests.conftest import WAREHOUSE
from tests.support.processes import until
from tests.support.webhook import free_port
from warehouse.database import ANALYST


@contextmanager
def served_demo() -> Iterator[tuple[str, str]]:
    """Give the address of the API and an analyst's key."""
    # A short path: a socket's has 107 bytes at most.
    home = Path(tempfile.mkdtemp(prefix="wh-"))
    port = free_port()
    # Whatever else is set is of other warehouses.
    others = {name: value for name, value in os.environ.items() if "WAREHOUSE_" not in name}
    environment = others | {"WAREHOUSE_HOME": str(home)}
    try:
        _type(environment, "demo")
        made = _type(environment, "keys", "create", "--kind", "read", "--role", ANALYST,
                     "--name", "Ann", "--json")  # fmt: skip
        with subprocess.Popen(
            [*WAREHOUSE, "api", "--port", str(port)], stderr=subprocess.DEVNULL, env=environment
        ) as running:
            try:
                address = f"http://127.0.0.1:{port}"
                until(lambda: _answers(address), 60)
                yield address, json.loads(made)["key"]
            finally:
                running.terminate()
    finally:
        _type(environment, "stop")
        shutil.rmtree(home, ignore_errors=True)


def _type(environment: Mapping[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [*WAREHOUSE, *arguments],
        check=True,
        capture_output=True,
        text=True,
        timeout=600,
        env=environment,
    )
    return done.stdout


def _answers(address: str) -> bool:
    try:
        return requests.get(f"{address}/sign-in", timeout=5).status_code == 200
    except requests.ConnectionError:
        return False
