"""The collector: what it answers to whom, and what lands of it."""

from __future__ import annotations

import gzip
import json
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
import zstandard

from ingestion.contract.tracking_plan import tracking_plan
from ingestion.privacy.visitors import salt_of, visitor_hash
from tests.conftest import Server, settings_of
from tests.support.collecting import (
    SITE,
    RunningCollector,
    collector,
    make_key,
    make_keys,
    now,
    page_view,
    signup,
    until_landed,
)
from tests.support.lines import rows, value
from tests.support.processes import until
from warehouse import key_store
from warehouse.key_kinds import KeyKind
from warehouse.settings import settings

Keys = dict[str, str]


@pytest.fixture(scope="module")
def connection(
    servers: Callable[[int], Server], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[psycopg.Connection]:
    """A warehouse with a home of its own, for all tests of this file."""
    server = servers(18)
    url = server.new_database()
    home = tmp_path_factory.mktemp("home")
    with settings_of(home, 18, url), psycopg.connect(url, autocommit=True) as connection:
        yield connection
    server.drop_database(url)


@pytest.fixture(scope="module")
def keys(connection: psycopg.Connection) -> Keys:
    return make_keys(connection)


@pytest.fixture(scope="module")
def running(connection: psycopg.Connection, keys: Keys) -> Iterator[RunningCollector]:
    with collector(WAREHOUSE_TRUSTED_PROXIES="127.0.0.2/32, 10.0.0.0/8") as running:
        yield running


@pytest.fixture
def before(connection: psycopg.Connection) -> int:
    """The last batch before the test: what it sends lands in later ones."""
    until_landed()
    return value(connection, "select coalesce(max(batch_seq), 0) from staging.event_batches")


def landed_since(connection: psycopg.Connection, before: int) -> list[tuple[Any, ...]]:
    """The events that have landed since, but for the collector's own."""
    until_landed()
    return rows(
        connection,
        "select r.client_id, r.event, r.actor, r.context, r.visitor_hash, r.timestamp, r.event_id "
        "from staging.raw_events as r inner join staging.event_batches as b using (batch_id) "
        "where b.batch_seq > %s and r.event <> 'system_metric' order by r.timestamp",
        before,
    )


def refused(answer: requests.Response) -> tuple[int, str]:
    """The status of a refusal, and its name; its detail is a sentence."""
    content = answer.json()
    assert set(content) == {"error", "detail"}
    assert content["detail"][-1] in ".?"
    return answer.status_code, content["error"]


def test_each_event_gets_its_outcome_and_lands(
    running: RunningCollector, keys: Keys, connection: psycopg.Connection, before: int
) -> None:
    twice = signup(1)
    answer = running.send(
        keys["server"],
        [
            twice,
            signup(2, event="job_won", properties={"value_cents": 5}),
            signup(3, event="session", context={"dnt": True}),
            twice,
        ],
    )
    assert answer.status_code == 202
    assert answer.json() == {
        "received": 4,
        "accepted": 2,
        "suppressed": 1,
        "rejected": 1,
        "errors": [
            {
                "index": 1,
                "reason": "missing_field",
                "detail": "$.actor.lead_id is required but absent",
            }
        ],
    }
    ((client, event, actor, *_),) = landed_since(connection, before)
    assert (client, event, actor) == (
        "acme",
        "signup",
        {"user_id": "user-1", "client_id": "acme"},
    )
    ((*counts, received_at, committed_at),) = rows(
        connection,
        "select received, accepted, duplicates, suppressed, rejected, received_at, committed_at "
        "from staging.event_batches where batch_seq > %s",
        before,
    )
    assert counts == [4, 1, 1, 1, 1]
    assert abs(committed_at - received_at) < timedelta(seconds=10)
    ((payload, line),) = rows(
        connection,
        "select payload, line_number from staging.rejected_events where batch_seq > %s",
        before,
    )
    assert "client_id" not in json.loads(payload)["actor"]
    assert line == 2


SHAPES: dict[str, tuple[str, Callable[[list[Any]], bytes]]] = {
    "one event": ("application/json", lambda events: json.dumps(events[0]).encode()),
    "an array": ("application/json; charset=UTF-8", lambda events: json.dumps(events).encode()),
    "a wrapped array": (
        "application/json",
        lambda events: json.dumps({"events": events}, indent=2).encode(),
    ),
    "lines": (
        "application/x-ndjson",
        lambda events: b"\xef\xbb\xbf" + b"\r\n\n".join(json.dumps(e).encode() for e in events),
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("encoding", "encode"),
    [
        ("identity", bytes),
        ("gzip", gzip.compress),
        ("zstd", zstandard.compress),
        ("gzip", lambda body: gzip.compress(body[:50]) + gzip.compress(body[50:])),
    ],
)
def test_every_shape_and_compression_is_read(
    running: RunningCollector, keys: Keys, shape: str, encoding: str, encode: Callable[..., bytes]
) -> None:
    kind, write = SHAPES[shape]
    events = [signup(100), signup(101)]
    answer = requests.post(
        f"{running.url}/api/events",
        encode(write(events)),
        headers={
            "Authorization": f"bearer {keys['server']}",
            "Content-Type": kind,
            "Content-Encoding": encoding,
        },
        timeout=30,
    )
    assert answer.status_code == 202, answer.text
    assert answer.json()["accepted"] == (1 if shape == "one event" else 2)


BIG = b'{"event": "' + b"x" * (1 << 20) + b'"}'
REFUSED: dict[str, tuple[int, str, dict[str, str], bytes]] = {
    "no JSON": (400, "invalid_body", {}, b"{"),
    "a text": (400, "invalid_body", {}, b'"signup"'),
    "nothing": (400, "invalid_body", {}, b""),
    "no event": (400, "invalid_body", {}, b"[]"),
    "no event in lines": (400, "invalid_body", {"Content-Type": "application/x-ndjson"}, b"\n \n"),
    "events that are none": (400, "invalid_body", {}, b'{"events": 1}'),
    "more than events": (400, "invalid_body", {}, b'{"events": [], "x": 1}'),
    "deep nesting": (400, "invalid_body", {}, b"[" * 100_000),
    "no gzip": (400, "invalid_encoding", {"Content-Encoding": "gzip"}, b"[]"),
    "half a gzip": (
        400, "invalid_encoding", {"Content-Encoding": "gzip"}, gzip.compress(b"[]")[:-9],
    ),
    "half a zstd": (
        400, "invalid_encoding", {"Content-Encoding": "zstd"}, zstandard.compress(b"[]" * 99)[:-1],
    ),
    "no key": (401, "unknown_key", {"Authorization": ""}, b"[]"),
    "another scheme": (401, "unknown_key", {"Authorization": "Basic KEY"}, b"[]"),
    "an unknown key": (401, "unknown_key", {"Authorization": "Bearer server_x"}, b"[]"),
    "too large": (413, "too_large", {}, BIG),
    "a bomb of gzip": (
        413, "too_large", {"Content-Encoding": "gzip"}, gzip.compress(b"0" * (100 << 20), 1),
    ),
    "a bomb of zstd": (
        413, "too_large", {"Content-Encoding": "zstd"}, zstandard.compress(b"0" * (64 << 20)) * 16,
    ),
    "too many": (413, "too_many_events", {}, json.dumps([{}] * 1_001).encode()),
    "a form": (415, "unsupported_media_type", {"Content-Type": "text/plain"}, b"[]"),
    "no type": (415, "unsupported_media_type", {"Content-Type": ""}, b"[]"),
    "UTF-16": (
        415, "unsupported_media_type", {"Content-Type": "application/json; charset=utf-16"}, b"[]",
    ),
    "brotli": (415, "unsupported_encoding", {"Content-Encoding": "br"}, b"[]"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_a_request_that_cannot_be_taken_is_refused_as_documented(
    running: RunningCollector, keys: Keys, what: str
) -> None:
    status, error, changes, body = REFUSED[what]
    headers = {
        "Authorization": f"Bearer {keys['server']}",
        "Content-Type": "application/json",
    } | changes
    answer = requests.post(f"{running.url}/api/events", body, headers=headers, timeout=30)
    assert refused(answer) == (status, error)


def test_headers_over_64_kib_are_refused(running: RunningCollector, keys: Keys) -> None:
    for header in ({"X-Much": "x" * (70 << 10)}, {f"X-{n}": "x" * 1_000 for n in range(70)}):
        answer = running.send(keys["server"], [signup(1)], **header)
        assert refused(answer) == (431, "headers_too_large")
    # A header that never ends.
    with socket.create_connection(("127.0.0.1", running.port), timeout=10) as endless:
        endless.sendall(b"POST /api/events HTTP/1.1\r\nX-Much: " + b"x" * (70 << 10))
        with endless.makefile("rb") as answer:
            assert b"431" in answer.readline()
    assert running.send(keys["server"], [signup(1)], X_Much="x" * (60 << 10)).status_code == 202


def test_what_is_no_http_is_refused_in_the_same_form(running: RunningCollector) -> None:
    with socket.create_connection(("127.0.0.1", running.port), timeout=10) as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        with connection.makefile("rb") as answer:
            head, _, body = answer.read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert json.loads(body)["error"] == "invalid_request"


def test_other_paths_and_methods_are_refused_in_the_same_form(running: RunningCollector) -> None:
    for method, path, status in [
        ("GET", "/api/events", 405),
        ("PUT", "/api/track", 405),
        ("POST", "/health", 405),
        ("GET", "/", 404),
        ("POST", "/api/entities/leads", 404),
        ("POST", "/api/events/", 404),
    ]:
        answer = requests.request(method, running.url + path, timeout=10)
        assert refused(answer)[0] == status, (method, path)


def test_a_quota_holds_and_says_when_to_come_back(
    running: RunningCollector, connection: psycopg.Connection
) -> None:
    key = make_key(connection, "server", client="acme", per_minute=5)
    until(lambda: running.send(key, [signup(1)]).status_code == 202)
    if datetime.now(UTC).second > 50:
        time.sleep(11)
    answers = [running.send(key, [signup(1), signup(2)]) for _ in range(4)]
    assert {answer.status_code for answer in answers} == {202, 429}
    assert refused(answers[-1]) == (429, "quota_exceeded")
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 60
    assert sum(answer.json().get("accepted", 0) for answer in answers) <= 5


def test_a_key_works_soon_after_it_is_made_and_not_after_it_is_revoked(
    running: RunningCollector, connection: psycopg.Connection
) -> None:
    made = key_store.create(connection, settings().home, KeyKind.SERVER, client="acme")
    started = time.monotonic()
    until(lambda: running.send(made.key, [signup(1)]).status_code == 202, 10)
    # As from another machine: the collector's own look at the database finds it.
    connection.execute("update warehouse.keys set revoked_at = now() where key_id = %s", (made.id,))
    until(lambda: running.send(made.key, [signup(1)]).status_code == 401, 10)
    assert time.monotonic() - started < 20


ENDPOINTS = {
    "/api/events": {"server", "platform"},
    "/api/track": {"browser"},
    "/api/entities/clients": {"platform"},
}


@pytest.mark.parametrize("kind", ["browser", "server", "platform", "read", "marketing"])
@pytest.mark.parametrize("path", ENDPOINTS)
def test_a_key_works_at_its_endpoints_alone(
    running: RunningCollector,
    keys: Keys,
    connection: psycopg.Connection,
    before: int,
    kind: str,
    path: str,
) -> None:
    event = page_view(actor={"client_id": "acme"})
    if path == "/api/track":
        answer = running.track(keys[kind], [event])
    else:
        answer = running.send(keys[kind], [event], path, Origin=SITE)
    if kind in ENDPOINTS[path]:
        assert answer.status_code == 202
        return
    assert refused(answer) == (403, "key_not_allowed")
    assert landed_since(connection, before) == []


@pytest.mark.parametrize("event", sorted(tracking_plan().events))
def test_a_page_sends_only_what_the_plan_marks_for_browsers(
    running: RunningCollector, keys: Keys, event: str
) -> None:
    answer = running.track(keys["browser"], [page_view(), page_view(event=event)])
    if tracking_plan().events[event].browser:
        assert answer.status_code == 202
    else:
        assert refused(answer) == (403, "event_not_allowed")


def test_the_plan_marks_nothing_of_money_for_browsers() -> None:
    assert {name for name, event in tracking_plan().events.items() if event.browser} == {
        "session", "page_view", "pdf_download", "contact_submitted", "signup", "builder_action",
        "analytics.dashboard_view", "analytics.filter_change", "analytics.export",
    }  # fmt: skip


def test_nothing_of_a_forbidden_request_is_kept(
    running: RunningCollector, keys: Keys, connection: psycopg.Connection, before: int
) -> None:
    forbidden = [
        running.track(keys["browser"], [page_view(), page_view(event="revenue")]),
        running.track(keys["browser"], [page_view(), page_view(event="no such event")]),
        running.track(keys["browser"], [page_view(), page_view(actor={"client_id": "rival"})]),
        running.send(keys["server"], [signup(1), signup(2, actor={"client_id": "rival"})]),
        running.send(keys["server"], [signup(1), signup(2, actor={"client_id": " acme"})]),
        running.send(keys["server"], [signup(1), signup(2, actor={"client_id": 5})]),
        running.send(keys["server"], [signup(1), {"event": 1, "actor": {"client_id": "rival"}}]),
        requests.post(
            f"{running.url}/api/events",
            b'{"event": "signup", "actor": {"client_id": "acme"}, "actor": {"client_id": "rival"}}',
            headers={
                "Authorization": f"Bearer {keys['server']}",
                "Content-Type": "application/json",
            },
            timeout=30,
        ),
    ]
    assert {answer.status_code for answer in forbidden} == {403}
    assert landed_since(connection, before) == []
    assert rows(connection, "select from staging.event_batches where batch_seq > %s", before) == []


@pytest.mark.parametrize("origin", [None, "null", f"{SITE}.evil.example", "http://www.example.com"])
def test_a_browser_key_works_on_its_sites_alone(
    running: RunningCollector, keys: Keys, origin: str | None
) -> None:
    answer = running.track(keys["browser"], [page_view()], origin)
    assert refused(answer) == (403, "origin_not_allowed")
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_pages_of_a_keys_sites_may_read_the_answers(
    running: RunningCollector, keys: Keys, connection: psycopg.Connection
) -> None:
    other = "https://other.example"
    make_key(connection, "browser", client="rival", origins=[other])
    path = f"{running.url}/api/track"
    until(lambda: requests.options(path, headers={"Origin": other}, timeout=5).status_code == 204)
    for origin, allowed in [(SITE, True), (other, True), ("https://x.example", False)]:
        preflight = requests.options(path, headers={"Origin": origin}, timeout=5)
        assert preflight.status_code == (204 if allowed else 403)
        named = preflight.headers.get("Access-Control-Allow-Origin")
        assert named == (origin if allowed else None)
        assert not allowed or int(preflight.headers["Access-Control-Max-Age"]) > 0
    answer = running.track(keys["browser"], [page_view()])
    assert answer.headers["Access-Control-Allow-Origin"] == SITE
    assert answer.headers["Vary"] == "Origin"
    # Another key's site: the page may not read that this key exists.
    assert (
        "Access-Control-Allow-Origin"
        not in running.track(keys["browser"], [page_view()], other).headers
    )
    # A page must be able to tell that it has to split what it sends, or that its key is revoked.
    for answer in (
        running.track(keys["browser"], [page_view()] * 1_001),
        running.track("browser_x", [page_view()]),
    ):
        assert answer.headers["Access-Control-Allow-Origin"] == SITE
    assert {running.track(keys["browser"], [{}] * 1_001).status_code} == {413}


def test_the_address_comes_from_the_connection_or_a_trusted_proxy(
    running: RunningCollector, keys: Keys, connection: psycopg.Connection, before: int
) -> None:
    agent = {"User-Agent": "Mozilla/5.0"}

    def post(path: str, events: Any, host: str, **headers: str) -> None:
        # From another address of this machine, as from a proxy.
        session = requests.Session()
        adapter = requests.adapters.HTTPAdapter()
        adapter.init_poolmanager(1, 1, source_address=(host, 0))
        session.mount("http://", adapter)
        answer = session.post(
            running.url + path,
            json.dumps(events),
            headers=agent
            | {"Authorization": f"Bearer {keys['server']}", "Content-Type": "application/json"}
            | {name.replace("_", "-"): text for name, text in headers.items()},
            timeout=30,
        )
        assert answer.status_code == 202, answer.text

    forged = page_view()["context"] | {"ip": "6.6.6.6"}
    events = iter(range(100))

    def event(**changes: Any) -> dict[str, Any]:
        at = datetime.now(UTC) + timedelta(milliseconds=next(events))
        return page_view(timestamp=at.isoformat()) | changes

    track = {"key": keys["browser"]}
    post("/api/track", track | {"events": [event()]}, "127.0.0.1", Origin=SITE)
    post("/api/track", track | {"events": [event(context=forged)]}, "127.0.0.1", Origin=SITE)
    hops = {"Origin": SITE, "X_Forwarded_For": "9.9.9.9, 8.8.8.8, 10.1.1.1"}
    post("/api/track", track | {"events": [event()]}, "127.0.0.1", **hops)
    post("/api/track", track | {"events": [event()]}, "127.0.0.2", **hops)
    hops["X_Forwarded_For"] = "9.9.9.9, nonsense"
    post("/api/track", track | {"events": [event()]}, "127.0.0.2", **hops)
    # A server knows its visitors' addresses: the body's counts.
    post("/api/events", [event(context=forged)], "127.0.0.1")
    post("/api/events", [event()], "127.0.0.1")
    salt = salt_of(connection, datetime.now(UTC).date())
    expected = [
        "127.0.0.1",
        "127.0.0.1",
        "127.0.0.1",
        "8.8.8.8",
        "127.0.0.2",
        "6.6.6.6",
        "127.0.0.1",
    ]
    landed = landed_since(connection, before)
    assert [bytes(hashed) for *_, hashed, _, _ in landed] == [
        visitor_hash(salt, "acme", ip, agent["User-Agent"]) for ip in expected
    ]
    assert all("ip" not in context for _, _, _, context, *_ in landed)


def test_a_page_is_a_browser_whatever_it_says(
    running: RunningCollector, keys: Keys, connection: psycopg.Connection, before: int
) -> None:
    def viewed(source: Any, consents: bool = True) -> dict[str, Any]:
        view = page_view()
        view["context"] |= {"source": source}
        if not consents:
            del view["context"]["consent"]
        return view

    sources = [None, "api", "runtime", "marketing_site", "builder", 5]
    assert running.track(keys["browser"], [viewed(one) for one in sources]).json()["accepted"] == 6
    found = [context["source"] for _, _, _, context, *_ in landed_since(connection, before)]
    assert found == ["web", "web", "web", "marketing_site", "builder", "web"]
    # Without an opt-in only the builder's views count, who has signed in.
    without = running.track(keys["browser"], [viewed(one, consents=False) for one in sources])
    assert (without.json()["accepted"], without.json()["suppressed"]) == (1, 5)


def test_the_legacy_shape_gets_its_client_from_the_key(
    running: RunningCollector, keys: Keys, connection: psycopg.Connection, before: int
) -> None:
    legacy = {"type": "chat", "development_id": "d1", "unit_id": "u1"}
    assert running.send(keys["server"], [legacy, legacy]).json()["accepted"] == 2
    assert running.send(keys["platform"], legacy).json()["accepted"] == 1
    wrong = running.send(keys["server"], legacy | {"type": "revenue"}).json()
    assert wrong["errors"][0]["reason"] == "unknown_event"
    landed = landed_since(connection, before)
    ids = {"development_id": "d1", "unit_id": "u1"}
    assert sorted((client, actor["client_id"]) for client, _, actor, *_ in landed) == [
        ("acme", "acme"), ("acme", "acme"), ("d1", "d1"),
    ]  # fmt: skip
    assert all(actor.items() >= ids.items() for _, _, actor, *_ in landed)
    assert all(abs(row[5] - datetime.now(UTC)) < timedelta(seconds=30) for row in landed)


def test_an_event_without_id_is_one_event_however_often_it_is_sent(
    running: RunningCollector, keys: Keys, connection: psycopg.Connection, before: int
) -> None:
    event = page_view("/once")
    for agent in ("a", "b"):
        assert running.track(keys["browser"], [event], User_Agent=agent).json()["accepted"] == 1
    assert len(landed_since(connection, before)) == 1


def test_a_line_may_be_as_large_as_in_a_file_whatever_is_stamped(
    running: RunningCollector, keys: Keys, connection: psycopg.Connection, before: int
) -> None:
    event = signup(7, properties={"x": ""})
    fill = 262_144 - len(json.dumps(event))
    event["properties"]["x"] = "x" * fill
    larger = event | {"event_id": signup(8)["event_id"], "properties": {"x": "x" * (fill + 1)}}
    answer = running.send(keys["server"], [event, larger], User_Agent="y" * 60_000).json()
    assert (answer["accepted"], answer["rejected"]) == (1, 1)
    assert answer["errors"][0]["reason"] == "too_large"
    assert len(landed_since(connection, before)) == 1


def test_entities_are_upserted_and_refused_like_those_of_a_file(
    running: RunningCollector, keys: Keys, connection: psycopg.Connection
) -> None:
    client = {"client_id": "acme", "name": "Acme", "created_at": now(), "updated_at": now()}
    answer = running.send(keys["platform"], [client, {"client_id": "x"}], "/api/entities/clients")
    assert answer.status_code == 202
    assert (answer.json()["accepted"], answer.json()["rejected"]) == (1, 1)
    for kind in ("units", "users", "documents"):
        row = {f"{kind[:-1]}_id": "one", "updated_at": now()}
        row |= {"created_at": now()} if kind == "users" else {}
        sent = running.send(keys["platform"], row, f"/api/entities/{kind}")
        assert sent.json()["accepted"] == 1, sent.text
    until_landed()
    assert value(connection, "select name from staging.clients") == "Acme"
    for kind in ("units", "users", "documents"):
        assert value(connection, f"select count(*) from staging.{kind}") == 1  # noqa: S608


def test_health_and_readiness_are_told_to_everybody(running: RunningCollector) -> None:
    answer = requests.get(
        f"{running.url}/health", headers={"Origin": "https://x.example"}, timeout=5
    )
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.json()["status"] == "ok"
    told = datetime.fromisoformat(answer.json()["now"])
    assert abs(told - datetime.now(UTC)) < timedelta(seconds=5)
    until(lambda: running.ready()["database"] == "up")
    assert set(running.ready()) == {"status", "waiting_bytes", "oldest_seconds", "database"}


def test_the_tracker_is_served_with_a_tag(running: RunningCollector) -> None:
    answer = requests.get(f"{running.url}/tracker.js", timeout=5)
    if answer.status_code == 404:
        pytest.skip("the tracker is not built")
    assert answer.headers["Content-Type"].startswith("text/javascript")
    assert "max-age" in answer.headers["Cache-Control"]
    tag = {"If-None-Match": answer.headers["ETag"]}
    assert requests.get(f"{running.url}/tracker.js", headers=tag, timeout=5).status_code == 304


def test_its_traffic_lands_as_metrics_when_it_stops(
    connection: psycopg.Connection, keys: Keys, tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    with collector(WAREHOUSE_SPOOL=str(spool)) as running:
        for number in range(5):
            assert running.send(keys["server"], signup(number)).status_code == 202
        assert running.stop() < 30
    metrics = dict(
        rows(
            connection,
            "select properties ->> 'metric_type', (properties ->> 'metric_value')::float8 "
            "from staging.raw_events where event = 'system_metric'",
        )
    )
    assert metrics["collector_requests"] == 5
    assert metrics["collector_errors"] == 0
    assert metrics["collector_p95_ms"] > 0
