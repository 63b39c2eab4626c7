"""The guarded web servers, asked as browsers, scripts and forgers ask: over real sockets."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import requests
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.support.processes import until
from tests.support.webhook import free_port
from warehouse.settings import SettingError, settings

PASSWORD = "correct horse battery staple"  # noqa: S105


@contextmanager
def serving(which: str, home: Path, **variables: str) -> Iterator[int]:
    """Run one of the servers on a free port; give the port."""
    port = free_port()
    more = []
    if which == "dagster":
        more = [str(home / "workspace.yaml")]
        Path(more[0]).write_text("load_from: []\n", "utf-8")
        (home / "dagster").mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestration.serve.web", which, "127.0.0.1", str(port), *more],
        env=os.environ | {"WAREHOUSE_HOME": str(home), "DAGSTER_HOME": str(home / "dagster")}
        | variables,
    )  # fmt: skip
    try:
        until(lambda: process.poll() is not None or listens(port))
        assert process.poll() is None
        yield port
    finally:
        process.terminate()
        assert process.wait(timeout=30) in {0, -15}


def listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def ask(port: int, *lines: str, body: str = "") -> tuple[int, str]:
    """Send a request as it is written; return the status and all of the answer."""
    head = "\r\n".join((*lines, "Connection: close", f"Content-Length: {len(body)}"))
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(f"{head}\r\n\r\n{body}".encode())
        answer = b""
        while received := connection.recv(65_536):
            answer += received
    text = answer.decode("utf-8", "replace")
    return int(text.split()[1]), text


@pytest.fixture(scope="module")
def dagster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with serving("dagster", tmp_path_factory.mktemp("home")) as port:
        yield port


def test_forged_names_are_refused(dagster: int) -> None:
    status, text = ask(dagster, "GET /server_info HTTP/1.1", f"Host: localhost:{dagster}")
    assert status == 200
    assert "x-frame-options: SAMEORIGIN" in text
    for host in ("evil.example", f"evil.example:{dagster}", "localhost.evil.example"):
        status, text = ask(dagster, "GET /server_info HTTP/1.1", f"Host: {host}")
        assert status == 421
        assert "does not answer to that name" in text
    assert ask(dagster, "GET http://localhost/server_info HTTP/1.1", "Host: evil.example")[0] == 421
    two = ("Host: localhost", "Host: evil.example")
    assert ask(dagster, "GET /server_info HTTP/1.1", *two)[0] in {400, 421}
    assert ask(dagster, "GET /server_info HTTP/1.0")[0] in {400, 421}


def test_no_picture_form_or_script_of_another_page_reaches_graphql(dagster: int) -> None:
    host = f"Host: localhost:{dagster}"
    query = "?query=mutation%7B__typename%7D"
    for target in (f"/graphql{query}", f"/graphql/{query}", f"//graphql{query}"):
        status, text = ask(dagster, f"GET {target} HTTP/1.1", host)
        # Whatever else is asked for is the UI's page.
        assert status == 405 or "<!doctype html>" in text.lower()
        assert "__typename" not in text
    assert ask(dagster, f"POST /graphql{query} HTTP/1.1", host)[0] == 415
    form = "Content-Type: application/x-www-form-urlencoded"
    assert ask(dagster, f"POST /graphql{query} HTTP/1.1", host, form, body="a=b")[0] == 415
    json = ("Content-Type: application/json", "Origin: http://evil.example")
    body = '{"query": "{ __typename }"}'
    status, text = ask(dagster, "POST /graphql HTTP/1.1", host, *json, body=body)
    assert status == 403
    assert "pages of other sites" in text
    status, text = ask(dagster, "POST /graphql HTTP/1.1", host, json[0], body=body)
    assert status == 200
    assert '{"data":{"__typename":"Query"}}' in text
    status, _ = ask(dagster, "POST /report_asset_observation/a?metadata=1 HTTP/1.1", host)
    assert status == 415


def test_websockets_of_other_pages_are_refused(dagster: int) -> None:
    address = f"ws://localhost:{dagster}/graphql"
    with connect(address, origin=f"http://localhost:{dagster}", subprotocols=["graphql-ws"]) as ws:
        ws.send('{"type": "connection_init"}')
        assert "connection_ack" in ws.recv(timeout=30)
    # The last are where the UI and the docs are by default, and here other programs.
    others = ("http://localhost:1", "http://localhost:3000", "http://localhost:3001")
    for origin in ("http://evil.example", "null", *others):
        with pytest.raises(InvalidStatus) as refused:
            connect(address, origin=origin, subprotocols=["graphql-ws"])
        assert refused.value.response.status_code == 403
    with socket.create_connection(("127.0.0.1", dagster)) as forged, pytest.raises(InvalidStatus):
        connect("ws://evil.example/graphql", sock=forged)


def test_a_password_covers_pages_files_graphql_and_websockets(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text(f"{PASSWORD}\n", "utf-8")
    with serving("dagster", tmp_path, WAREHOUSE_DAGSTER_PASSWORD_FILE=str(secret)) as port:
        base = f"http://localhost:{port}"
        for path in ("/", "/server_info", "/robots.txt", "/logs/x.out", "/graphql"):
            answer = requests.get(base + path, timeout=30)
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"].startswith("Basic ")
            assert PASSWORD not in answer.text
        query = {"query": "{ __typename }"}
        assert requests.post(f"{base}/graphql", json=query, timeout=30).status_code == 401
        right = ("warehouse", PASSWORD)
        assert requests.get(base, auth=right, timeout=30).status_code == 200
        assert requests.get(base, auth=("warehouse", "x"), timeout=30).status_code == 401
        answer = requests.post(f"{base}/graphql", json=query, auth=right, timeout=30)
        assert answer.json() == {"data": {"__typename": "Query"}}
        address = f"ws://localhost:{port}/graphql"
        with pytest.raises(InvalidStatus) as refused:
            connect(address, subprotocols=["graphql-ws"])
        assert refused.value.response.status_code == 401
        pair = b64encode(":".join(right).encode()).decode()
        headers = {"Authorization": f"Basic {pair}"}
        with connect(address, additional_headers=headers, subprotocols=["graphql-ws"]) as ws:
            ws.send('{"type": "connection_init"}')
            assert "connection_ack" in ws.recv(timeout=30)


def test_the_docs_are_shown_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "docs" / "models").mkdir(parents=True)
    (tmp_path / "docs" / "models" / "static_index.html").write_text("models", "utf-8")
    (tmp_path / "secret").write_text("secret", "utf-8")
    (tmp_path / "docs" / "link").symlink_to(tmp_path / "secret")
    with serving("docs", tmp_path, WAREHOUSE_DOCS_URL="https://docs.example/wh") as port:
        host = f"Host: localhost:{port}"
        assert ask(port, "GET /models/static_index.html HTTP/1.1", host)[0] == 200
        assert ask(port, "GET / HTTP/1.1", "Host: docs.example")[0] == 200
        assert ask(port, "GET / HTTP/1.1", "Host: evil.example")[0] == 421
        assert ask(port, "POST / HTTP/1.1", host, "Content-Type: application/json")[0] == 405
        for path in ("/models/", "/../secret", "/%2e%2e/secret", "/link", "/checks/"):
            status, text = ask(port, f"GET {path} HTTP/1.1", host)
            assert status == 404
            assert "static_index" not in text
    with serving("docs", tmp_path, WAREHOUSE_DAGSTER_PASSWORD=PASSWORD) as port:
        assert requests.get(f"http://localhost:{port}/", timeout=30).status_code == 401


def test_an_empty_password_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    empty = tmp_path / "password"
    empty.write_text("\n", "utf-8")
    for name, value in (("PASSWORD", ""), ("PASSWORD_FILE", str(empty))):
        with monkeypatch.context() as patch:
            patch.setenv(f"WAREHOUSE_DAGSTER_{name}", value)
            settings.cache_clear()
            with pytest.raises(SettingError, match="is empty"):
                _ = settings().web_password
    settings.cache_clear()
