"""Ports of `warehouse serve` are probed before anything starts, and links name them."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from orchestration.serve.ports import PortError, answers, link_to, probe
from tests.conftest import WAREHOUSE
from tests.support.webhook import free_port
from warehouse.settings import settings


def test_a_port_that_another_program_uses_is_named_with_the_option_that_chooses_another() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert answers("127.0.0.1", port)
        with pytest.raises(PortError, match=f"Port {port} .* in use. .* --docs-port"):
            probe("127.0.0.1", {"--port": free_port(), "--docs-port": port})


def test_two_servers_cannot_have_one_port() -> None:
    port = free_port()
    with pytest.raises(PortError, match="--docs-port"):
        probe("127.0.0.1", {"--port": port, "--docs-port": port})
    probe("127.0.0.1", {"--port": port})
    assert not answers("127.0.0.1", port)


def test_serve_with_a_port_that_is_taken_fails_before_it_starts_anything(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        failed = subprocess.run(
            [*WAREHOUSE, "serve", "--port", port],
            env=os.environ | {"WAREHOUSE_HOME": str(home)},
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    assert failed.returncode == 1
    assert failed.stderr.startswith(f"warehouse: Port {port} of 127.0.0.1 can't be used")
    assert {path.name for path in home.iterdir() if path.is_dir()} <= {"dagster", "drop"}


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("127.0.0.1", "localhost"),
        ("::", "localhost"),
        ("10.1.2.3", "10.1.2.3"),
        ("::1", "localhost"),
        ("fd00::1", "[fd00::1]"),
    ],
)
def test_links_name_the_ports_except_where_an_address_was_set(
    monkeypatch: pytest.MonkeyPatch, host: str, name: str
) -> None:
    monkeypatch.setenv("WAREHOUSE_DAGSTER_URL", "https://dagster.example")
    # Set and removed, so that the value that is set here is removed again.
    monkeypatch.setenv("WAREHOUSE_DOCS_URL", "")
    monkeypatch.delenv("WAREHOUSE_DOCS_URL")
    settings.cache_clear()
    link_to(host, port=4000, docs_port=4001)
    assert settings().dagster_url == "https://dagster.example"
    assert settings().docs_url == f"http://{name}:4001"
    monkeypatch.undo()
    settings.cache_clear()
