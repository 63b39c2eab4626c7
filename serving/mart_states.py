"""How fresh and checked each mart is: what every answer says of itself, and what its ETag is of."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg

from serving.catalogue import Mart
from serving.connections import Connections
from warehouse.database import ANALYST
from warehouse.sql_files import read_sql

# A build shows within this time. Until then an answer may carry an older state than its rows have,
# never a newer one.
FRESH_SECONDS = 1.0
_STATES = read_sql(__file__, "mart_states")


@dataclass(frozen=True, slots=True)
class MartState:
    """The offset and checks of a mart. Without a build all is None.

    ``rewritten_at`` is when the last build began that may have changed rows and no offset: a
    backfill or a full refresh. While one runs, ``is_being_rewritten``.
    """

    built_as_of: datetime | None = None
    batch_seq: int | None = None
    last_check_status: str | None = None
    rewritten_at: datetime | None = None
    is_being_rewritten: bool = False

    def freshness_seconds(self, now: datetime) -> int | None:
        """Return the age of the mart's figures."""
        return None if self.built_as_of is None else int((now - self.built_as_of).total_seconds())

    def version(self, mart: Mart) -> str | None:
        """Return what changes whenever the mart's rows may have; None where nothing says so."""
        if mart.is_live or self.built_as_of is None or self.is_being_rewritten:
            return None
        return (
            f"{self.batch_seq} {self.built_as_of.isoformat()} {self.last_check_status} "
            f"{self.rewritten_at}"
        )


class MartStates:
    """The states of all marts, read at most once a second."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._states: Mapping[str, MartState] = {}
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    async def of(self, mart: str) -> MartState:
        """Return the state of a mart. Raises ApiError while the database is away."""
        return (await self.all()).get(mart, MartState())

    async def all(self) -> Mapping[str, MartState]:
        """Return the states of all marts. Raises ApiError while the database is away."""
        if self._is_old():
            async with self._reading:
                # Another request may have read them meanwhile.
                if self._is_old():
                    asked_at = time.monotonic()
                    self._states = await self._read()
                    self._read_at = asked_at
        return self._states

    def _is_old(self) -> bool:
        return time.monotonic() - self._read_at > FRESH_SECONDS

    async def _read(self) -> Mapping[str, MartState]:
        try:
            found = await self._connections.rows(ANALYST, _STATES)
            return {mart: MartState(*state) for mart, *state in found}
        except (
            psycopg.errors.UndefinedTable,
            psycopg.errors.UndefinedColumn,
            # The first build grants it.
            psycopg.errors.InsufficientPrivilege,
        ):
            return {}


def now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)
