"""A request to one of the endpoints that take events.

Without Starlette's routing and request, which would take longer than all that is done with
the request.
"""

from __future__ import annotations

from starlette.types import Receive, Scope

from ingestion.collector.protocol import BEGAN, HAS_ARRIVED

_READ = frozenset(
    {
        b"authorization", b"content-encoding", b"content-length", b"content-type", b"expect",
        b"origin", b"user-agent", b"x-forwarded-for",
    }
)  # fmt: skip


class Incoming:
    """A request: the headers that are read, its body, and what is known of it so far.

    ``origin`` is that of the page that may read the answer. ``is_read`` says whether the whole
    request was received.
    """

    __slots__ = ("headers", "is_read", "origin", "receive", "scope")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope = scope
        self.receive = receive
        self.origin: str | None = None
        self.is_read = False
        self.headers: dict[bytes, str] = {}
        for name, value in scope["headers"]:
            if name in _READ:
                text = value.decode("latin-1")
                # A list of addresses may be split; any other header that is sent twice is wrong.
                before = self.headers.get(name)
                self.headers[name] = text if before is None else f"{before}, {text}"

    @property
    def method(self) -> str:
        """The method."""
        return self.scope["method"]

    @property
    def path(self) -> str:
        """The path without the query."""
        return self.scope["path"]

    @property
    def peer(self) -> str | None:
        """The address at the other end of the connection."""
        client = self.scope.get("client")
        return client[0] if client else None

    @property
    def has_arrived(self) -> bool:
        """Whether the whole request is here already."""
        return self.scope.get(HAS_ARRIVED, False)

    @property
    def began(self) -> float | None:
        """When its first byte came, by the event loop's clock."""
        return self.scope.get(BEGAN)
