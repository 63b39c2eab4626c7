"""The calls of the API: each becomes an `api_request` of the warehouse's own events.

They are kept in memory for some seconds and then written to the spool of the collector together, so
that a call costs neither a write to the disk nor a transaction. The API itself never writes to the
database.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPMethod
from pathlib import Path

from ingestion.collector.lander import UNKNOWN, read_state
from ingestion.collector.own_events import OwnEvents, OwnSegments

logger = logging.getLogger("warehouse.api")

# A killed process loses the calls of this time.
WRITE_SECONDS = 10
# How many calls without a valid key are kept in this time: anybody can make as many as they like.
MOST_WITHOUT_KEY = 20
# Not pages of the dashboard, their files and signing in.
COUNTED = ("/v1/", "/marketing/")


class Calls:
    """Counts calls and writes them to the spool, as long as a collector lands what is in it."""

    def __init__(self, spool: Path, limit_bytes: int) -> None:
        self._spool = spool
        self._events = OwnEvents("warehouse.api")
        self._segments = OwnSegments(spool, limit_bytes)
        self._without_key = 0
        self._problem = ""

    def count(
        self,
        endpoint: str,
        method: str,
        status: int,
        seconds: float,
        error: str | None,
        *,
        has_key: bool,
    ) -> None:
        """Count an answered call. The endpoint is the declared one, without values of its path."""
        if not endpoint.startswith(COUNTED) or method not in HTTPMethod.__members__:
            return
        if not has_key:
            self._without_key += 1
            if self._without_key > MOST_WITHOUT_KEY:
                self._events.drop()
                return
        properties = {
            "endpoint": endpoint,
            "method": method,
            "response_time_ms": round(1_000 * seconds, 3),
            "status_code": status,
        }
        self._events.add("api_request", properties | ({"error_message": error} if error else {}))

    async def run(self) -> None:
        """Write what was counted every few seconds, until it is cancelled."""
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            await self.write()

    async def write(self) -> None:
        """Write what was counted; what can't be written waits. Without a collector all waits."""
        self._without_key = 0
        if await asyncio.to_thread(read_state, self._spool) == UNKNOWN:
            self._note("no collector lands events from this spool")
            return
        if not (lines := self._events.take()):
            return
        try:
            await asyncio.to_thread(self._segments.write, lines)
        except BaseException as error:
            self._events.put_back(lines)
            if not isinstance(error, Exception):
                raise
            self._note(str(error))
        else:
            self._problem = ""

    def _note(self, problem: str) -> None:
        if problem != self._problem:
            logger.warning("The API's own calls are not recorded meanwhile: %s.", problem)
            self._problem = problem
