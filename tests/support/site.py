"""A web site of several pages that carry the tracker, and the network to its collector."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Page {path}</title>{scripts}</head>
<body><h1>{path}</h1><a href="/b">b</a></body></html>"""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        return

    def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@dataclass
class Site:
    """A site's address, and what its pages carry."""

    port: int
    collector: str
    key: str = ""
    consent: str = "required"
    headers: dict[str, str] = field(default_factory=dict)
    banner: str | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def scripts(self) -> str:
        tracker = (
            f'<script defer src="{self.collector}/tracker.js" data-key="{self.key}"'
            f' data-consent="{self.consent}"></script>'
        )
        if self.banner is None:
            return tracker
        return f'{tracker}<script defer src="/consent-banner.js" {self.banner}></script>'


@contextmanager
def site(collector: str, files: Callable[[str], bytes | None]) -> Iterator[Site]:
    """Serve a site. Every path is a page, but for those that ``files`` knows as scripts.

    A page with the query ``bare`` carries no tracker.
    """

    class Handler(_Handler):
        def do_GET(self) -> None:
            address = urlsplit(self.path)
            if (script := files(address.path)) is not None:
                self.answer(200, {"Content-Type": "text/javascript"}, script)
                return
            bare = "bare" in parse_qs(address.query, keep_blank_values=True)
            page = PAGE.format(path=address.path, scripts="" if bare else made.scripts)
            self.answer(
                200, {"Content-Type": "text/html; charset=utf-8", **made.headers}, page.encode()
            )

    with _served(Handler) as server:
        made = Site(server.server_port, collector)
        yield made


@dataclass(frozen=True)
class Request:
    """A request that reached the network: when, what, and what was answered (0: nothing)."""

    at: float
    method: str
    path: str
    body: bytes
    status: int

    @property
    def events(self) -> list[dict[str, Any]]:
        return json.loads(self.body)["events"]


@dataclass
class Network:
    """What lies between a site and its collector; it passes requests on, or fails on demand."""

    upstream: tuple[str, int]
    port: int = 0
    requests: list[Request] = field(default_factory=list)
    # Answers that are given in place of the collector's, to the next batches.
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    # The status for each batch of more events than this.
    largest: int | None = None
    # The next batches are passed on, and their answers lost.
    lost_answers: int = 0
    _server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def batches(self) -> list[Request]:
        return [one for one in self.requests if one.path == "/api/track"]

    @property
    def tries(self) -> list[Request]:
        return [one for one in self.requests if one.path != "/tracker.js"]

    def down(self) -> None:
        """Refuse connections."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def up(self) -> None:
        """Listen, on the port that it had before."""
        network = self

        class Handler(_Handler):
            def do_POST(self) -> None:
                self.do_GET()

            def do_OPTIONS(self) -> None:
                self.do_GET()

            def do_GET(self) -> None:
                at = time.monotonic()
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, headers, content = network._answer(self, body)
                network.requests.append(Request(at, self.command, self.path, body, status))
                if status:
                    self.answer(status, headers, content)
                else:
                    self.close_connection = True

        self._server = _Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def _answer(
        self, request: BaseHTTPRequestHandler, body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        if request.path == "/api/track" and request.command == "POST":
            allowed = {
                "Access-Control-Allow-Origin": request.headers.get("Origin", ""),
                "Access-Control-Expose-Headers": "Retry-After",
            }
            if self.largest and len(json.loads(body)["events"]) > self.largest:
                return 413, allowed, b"{}"
            if self.answers:
                status, headers = self.answers.pop(0)
                return status, {**allowed, **headers}, b"{}"
        connection = http.client.HTTPConnection(*self.upstream, timeout=30)
        try:
            headers = {k: v for k, v in request.headers.items() if k.lower() != "connection"}
            connection.request(request.command, request.path, body or None, headers)
            answer = connection.getresponse()
            content = answer.read()
        except OSError:
            return 0, {}, b""
        finally:
            connection.close()
        if request.path == "/api/track" and self.lost_answers:
            self.lost_answers -= 1
            return 0, {}, b""
        hop_by_hop = {"connection", "content-length", "transfer-encoding", "date", "server"}
        passed = {k: v for k, v in answer.getheaders() if k.lower() not in hop_by_hop}
        return answer.status, passed, content


@contextmanager
def network(upstream: tuple[str, int]) -> Iterator[Network]:
    """Give a network to a collector at a host and port."""
    made = Network(upstream)
    made.up()
    try:
        yield made
    finally:
        made.down()


@contextmanager
def _served(handler: type[BaseHTTPRequestHandler]) -> Iterator[ThreadingHTTPServer]:
    server = _Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
