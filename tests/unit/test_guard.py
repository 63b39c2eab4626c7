"""What the guard in front of the web servers lets through."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from orchestration.serve.guard import Rules, refusal, rules

RULES = rules("127.0.0.1", "https://dagster.example", None)
HERE = {"host": "localhost:3000"}
JSON = {"content-type": "application/json"}
FROM_HERE = {"origin": "http://localhost:3000", "sec-fetch-site": "same-origin"}
ELSEWHERE = {"origin": "http://evil.example", "sec-fetch-site": "cross-site"}
A_LINK = {
    "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document",
}  # fmt: skip
A_FRAME = A_LINK | {"sec-fetch-dest": "iframe"}


def status(
    method: str, path: str, headers: dict[str, str], of: Rules = RULES, **more: Any
) -> int | None:
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": pairs, **more}
    refused = refusal(of, scope)
    return refused and refused.status


@pytest.mark.parametrize(
    ("host", "listens_at", "url"),
    [
        ("localhost", "127.0.0.1", ""),
        ("LOCALHOST:3000", "127.0.0.1", ""),
        ("127.0.0.1:9", "127.0.0.1", ""),
        ("[::1]:3000", "::1", ""),
        ("dagster.example", "0.0.0.0", "https://dagster.example"),  # noqa: S104
        ("dagster.example:8443", "127.0.0.1", "https://Dagster.Example:8443/ui/"),
        ("192.168.1.7:3000", "192.168.1.7", "http://localhost:3000"),
        ("[fe80::1]", "fe80::1", "http://localhost:3000"),
    ],
)
def test_the_servers_own_names_are_let_through(host: str, listens_at: str, url: str) -> None:
    assert status("GET", "/", {"host": host}, rules(listens_at, url, None)) is None


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "evil.example:3000", "127.0.0.2", "0.0.0.0", "",  # noqa: S104
     "localhost@evil.example", "evil.example@localhost", "localhost,evil.example", "localhost ",
     "localhost:", "localhost:80:80", "local\u00e9host", "[::1", "::1", "localhost/x", "."],
)  # fmt: skip
@pytest.mark.parametrize("of", [RULES, rules("0.0.0.0", "", None)], ids=["own", "all"])  # noqa: S104
def test_no_other_name_is(host: str, of: Rules) -> None:
    assert status("GET", "/", {"host": host}, of) == 421


def test_a_request_has_one_host() -> None:
    for hosts in ([], [b"localhost", b"localhost"], [b"localhost", b"evil.example"]):
        scope = {"type": "http", "method": "GET", "path": "/"}
        refused = refusal(RULES, scope | {"headers": [(b"host", host) for host in hosts]})
        assert refused is not None
        assert refused.status == 421


@pytest.mark.parametrize(
    ("method", "path", "headers", "expected"),
    [
        # What the UI, a script and an alert's link do.
        ("GET", "/runs", {}, None),
        ("HEAD", "/runs", {}, None),
        ("GET", "/app.js", {"sec-fetch-site": "same-origin"}, None),
        ("GET", "/runs/1", {"sec-fetch-site": "none"}, None),
        ("GET", "/runs/1", A_LINK, None),
        ("POST", "/graphql", JSON, None),
        ("POST", "/graphql", JSON | FROM_HERE, None),
        ("POST", "/graphql", {"content-type": "Application/JSON; charset=utf-8"}, None),
        ("POST", "/graphql", JSON | {"origin": "https://dagster.example"}, None),
        ("POST", "/report_asset_check/a", JSON, None),
        # GraphQL in other ways.
        ("GET", "/graphql", {}, 405),
        ("GET", "/graphql", A_LINK, 405),
        ("HEAD", "/graphql", {}, 405),
        ("GET", "/graphql/", {}, 405),
        ("PUT", "/graphql", JSON, 405),
        ("POST", "/graphql", {}, 415),
        ("POST", "/graphql", {"content-type": "application/graphql"}, 415),
        ("POST", "/graphql", {"content-type": "text/plain; application/json"}, 415),
        ("POST", "/graphql", {"content-type": "multipart/form-data"}, 415),
        ("POST", "/report_asset_check/a", {"content-type": "text/plain"}, 415),
        ("DELETE", "/runs", JSON, 405),
        ("OPTIONS", "/graphql", {}, 405),
        # From pages of others.
        ("POST", "/graphql", JSON | ELSEWHERE, 403),
        ("POST", "/graphql", JSON | {"origin": "null"}, 403),
        ("POST", "/graphql", JSON | {"origin": "http://localhost:8888"}, 403),
        ("POST", "/graphql", JSON | {"origin": "http://dagster.example"}, 403),
        ("POST", "/graphql", JSON | {"sec-fetch-site": "same-site"}, 403),
        ("POST", "/graphql", JSON | {"referer": "http://evil.example/page"}, 403),
        ("POST", "/graphql", JSON | {"referer": "http://localhost:3000/runs"}, None),
        ("POST", "/graphql", JSON | A_LINK, 403),
        ("GET", "/logs/1", ELSEWHERE, 403),
        ("GET", "/logs/1", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, 403),
        ("GET", "/runs/1", A_FRAME, 403),
        ("GET", "/runs/1", A_LINK | ELSEWHERE, 403),
    ],
)  # fmt: skip
def test_reading_and_json_of_this_origin_are_let_through(
    method: str, path: str, headers: dict[str, str], expected: int | None
) -> None:
    assert status(method, path, HERE | headers) == expected


@pytest.mark.parametrize(
    ("headers", "expected"), [({}, None), (FROM_HERE, None), (ELSEWHERE, 403),
                              ({"origin": "null"}, 403), ({"host": "evil.example"}, 421)]
)  # fmt: skip
def test_websockets_are_of_this_origin(headers: dict[str, str], expected: int | None) -> None:
    assert status("GET", "/graphql", HERE | headers, type="websocket") == expected


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("origin", "scheme", "expected"),
    [
        ("http://localhost:4100", "http", None),
        ("https://localhost:4100", "https", None),
        ("https://localhost:4100", "http", 403),
        ("http://localhost:4100", "https", 403),
        ("http://localhost:3000", "http", 403),
        ("http://localhost:3001", "http", 403),
        ("http://127.0.0.1:4100", "http", 403),
        ("http://localhost", "http", 403),
    ],
)
def test_where_no_url_is_given_the_requests_own_origin_alone_is_trusted(
    origin: str, scheme: str, expected: int | None, kind: str
) -> None:
    headers = {"host": "localhost:4100", "origin": origin} | JSON
    scheme = scheme if kind == "http" else scheme.replace("http", "ws")
    of = rules("127.0.0.1", None, None)
    found = status("POST", "/graphql", headers, of, type=kind, scheme=scheme)
    assert found == expected


def basic(pair: str, scheme: str = "Basic") -> dict[str, str]:
    return {"authorization": f"{scheme} {b64encode(pair.encode()).decode()}"}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (basic("warehouse:s3crét:x"), None),
        (basic("warehouse:s3crét:x", "bAsIc"), None),
        ({}, 401),
        (basic("warehouse:s3crét"), 401),
        (basic("admin:s3crét:x"), 401),
        (basic("warehouse:s3crét:x", "Bearer"), 401),
        ({"authorization": "Basic not base64!"}, 401),
        ({"authorization": "Basic \xff\xfe"}, 401),
        ({"authorization": ""}, 401),
    ],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_with_a_password_nothing_is_shown_without_it(
    headers: dict[str, str], expected: int | None, kind: str
) -> None:
    guarded = rules("0.0.0.0", "https://dagster.example", "s3crét:x")  # noqa: S104
    assert status("GET", "/app.js", HERE | headers, guarded, type=kind) == expected
