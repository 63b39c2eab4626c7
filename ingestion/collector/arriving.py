"""Receives request bodies in bounded memory and bounded time."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import suppress

from ingestion.collector.answers import RefusedError, retry_later
from ingestion.collector.bodies import LARGEST_BODY, too_large
from ingestion.collector.incoming import Incoming
from ingestion.collector.protocol import ARRIVAL_SECONDS

# In bytes, of the bodies that arrive or wait for the disk. Beyond it the one that has been arriving
# longest is refused: a slow client never keeps the others out.
LARGEST_ARRIVING = 32 << 20
# A client that sends a whole body before it reads the answer is listened to for this much.
DISCARDED_BYTES, DISCARDED_SECONDS = 8 << 20, 5.0


class ClientGoneError(Exception):
    """The client closed the connection before its request had arrived."""


class Arriving:
    """The bodies that are arriving at one process."""

    def __init__(self) -> None:
        self._bytes = 0
        self._limits: OrderedDict[asyncio.Timeout, None] = OrderedDict()
        self._shed: set[asyncio.Timeout] = set()

    async def body(self, request: Incoming) -> bytes:
        """Return a request's body. Raises RefusedError (408, 413, 503) or ClientGoneError.

        Call ``release`` with its length when it is dealt with.
        """
        length = request.headers.get(b"content-length", "")
        if length.isdigit() and int(length) > LARGEST_BODY:
            raise too_large()
        if request.has_arrived:
            # So it is for nearly all, and there is nothing to wait for.
            part = (await request.receive()).get("body", b"")
            if self._bytes > 2 * LARGEST_ARRIVING:
                raise _busy()
            if len(part) > LARGEST_BODY:
                raise too_large()
            self._bytes += len(part)
            return part
        return await self._slow_body(request)

    async def _slow_body(self, request: Incoming) -> bytes:
        began = request.began
        loop = asyncio.get_running_loop()
        deadline = (loop.time() if began is None else began) + ARRIVAL_SECONDS
        parts: list[bytes] = []
        size = 0
        limit = asyncio.timeout_at(deadline)
        try:
            async with limit:
                self._limits[limit] = None
                while True:
                    message = await request.receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGoneError
                    part = message.get("body", b"")
                    size += len(part)
                    self._bytes += len(part)
                    if size > LARGEST_BODY:
                        raise too_large()
                    parts.append(part)
                    if not message.get("more_body", False):
                        if self._bytes > 2 * LARGEST_ARRIVING:
                            raise _busy()
                        return parts[0] if len(parts) == 1 else b"".join(parts)
                    self._shed_oldest()
        except TimeoutError:
            self._bytes -= size
            if limit in self._shed:
                raise _busy() from None
            raise RefusedError(
                408,
                "timeout",
                f"The request did not arrive within {ARRIVAL_SECONDS:.0f} s: send it again.",
                {"Connection": "close"},
            ) from None
        except BaseException:
            self._bytes -= size
            raise
        finally:
            self._limits.pop(limit, None)
            self._shed.discard(limit)

    def release(self, size: int) -> None:
        """Give back the room of a body."""
        self._bytes -= size

    def _shed_oldest(self) -> None:
        if self._bytes > LARGEST_ARRIVING:
            for limit in self._limits:
                if limit not in self._shed:
                    self._shed.add(limit)
                    limit.reschedule(asyncio.get_running_loop().time())
                    return


def _busy() -> RefusedError:
    return retry_later(503, "busy", "Too much arrives at once: send the request again later.", 5)


async def discard(request: Incoming) -> bool:
    """Read the rest of a refused request, within limits; return whether it has arrived.

    Otherwise the connection has to be closed, and the client may miss the answer.
    """
    if b"expect" in request.headers:
        # It waits for the answer before it sends the body.
        return False
    size = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(DISCARDED_SECONDS):
            while size <= DISCARDED_BYTES:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    return False
                size += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return True
    return False
