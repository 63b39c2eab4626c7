"""The HTTP protocol with limits that uvicorn does not have: headers, slow heads, connections."""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

# In bytes, the request line included.
LARGEST_HEAD = 64 << 10
# Until a request has arrived, from its first byte; also of a new connection without any.
ARRIVAL_SECONDS = 30.0
# Of one worker. Beyond it the connection that has waited longest for a request is closed.
MOST_CONNECTIONS = 1_000
SWEEP_SECONDS = 1.0
# The member of a request's scope that says when it began to arrive, by the event loop's clock.
BEGAN = "warehouse.began"
# The member that says whether all of it has arrived.
HAS_ARRIVED = "warehouse.has_arrived"


class BoundedProtocol(HttpToolsProtocol):
    """One connection. Class attributes are those of the whole process."""

    # Connections of which no whole head has arrived, the one that waits longest first.
    _waiting: ClassVar[OrderedDict[BoundedProtocol, None]] = OrderedDict()
    _is_sweeping = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept a connection; close the one that waits longest if there are too many."""
        super().connection_made(transport)
        self._head_bytes = 0
        self._is_refused = False
        self._has_begun = True
        self._began: float = self.loop.time()
        self._waiting[self] = None
        if len(self.connections) > MOST_CONNECTIONS:
            next(iter(self._waiting)).transport.close()
        if not BoundedProtocol._is_sweeping:
            BoundedProtocol._is_sweeping = True
            self.loop.call_later(SWEEP_SECONDS, _sweep, self.loop)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._waiting.pop(self, None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what belongs to the head of a request, whose parts the parser may still hold."""
        if self._is_refused:
            return
        if self in self._waiting:
            if not self._has_begun:
                self._has_begun, self._began = True, self.loop.time()
            self._head_bytes += len(data)
        super().data_received(data)
        if self in self._waiting and self._head_bytes > LARGEST_HEAD:
            self._refuse_head()

    def on_headers_complete(self) -> None:
        """Begin a request, unless its head is too large."""
        # What has arrived may hold a part of the body, too.
        if self._head_bytes > LARGEST_HEAD:
            head = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if head > LARGEST_HEAD:
                self._refuse_head()
                return
        self._waiting.pop(self, None)
        self.scope[BEGAN] = self._began  # type: ignore[typeddict-unknown-key]
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        if not self._is_refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Take the end of a request."""
        if not self._is_refused:
            self.scope[HAS_ARRIVED] = True  # type: ignore[typeddict-unknown-key]
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        if not self.transport.is_closing() and not self.pipeline:
            self._head_bytes = 0
            self._has_begun = False
            self._waiting[self] = None
        super().on_response_complete()

    def sweep(self, now: float) -> None:
        """Close the connection if the head of a request is late."""
        if self._has_begun and now - self._began > ARRIVAL_SECONDS and not self._is_refused:
            if self._head_bytes:
                detail = (
                    f"The request did not arrive within {ARRIVAL_SECONDS:.0f} s: send it again."
                )
                self._answer(408, "timeout", detail)
            else:
                self.transport.close()

    def _refuse_head(self) -> None:
        self._answer(
            431, "headers_too_large", f"The headers are over {LARGEST_HEAD:,} bytes: send fewer."
        )

    def _answer(self, status: int, error: str, detail: str) -> None:
        """Answer without a request, and close."""
        self._is_refused = True
        self._waiting.pop(self, None)
        if self.transport.is_closing():
            return
        body = json.dumps({"error": error, "detail": detail}).encode()
        self.transport.write(
            b"%bcontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
            % (STATUS_LINE[status], len(body), body)
        )
        self.transport.close()


def _sweep(loop: Any) -> None:
    now = loop.time()
    for connection in list(BoundedProtocol._waiting):
        connection.sweep(now)
    loop.call_later(SWEEP_SECONDS, _sweep, loop)
