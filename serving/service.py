"""What all endpoints share: marts, connections, callers, states, streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from starlette.requests import Request

from serving.answers import CsvStreams, Page, read_page
from serving.callers import Caller, Callers
from serving.calls import Calls
from serving.catalogue import Mart, marts
from serving.connections import Connections
from serving.errors import ApiError
from serving.mart_query import MartQuery
from serving.mart_states import MartStates
from warehouse.settings import Settings


@dataclass(frozen=True, slots=True)
class Service:
    """The parts of the running API."""

    settings: Settings
    marts: Mapping[str, Mart]
    connections: Connections
    callers: Callers
    states: MartStates
    streams: CsvStreams
    calls: Calls

    @classmethod
    def of(cls, settings: Settings) -> Service:
        """Return the parts, not started. Raises CatalogueError, DatabaseError or SettingError."""
        declared = marts()
        connections = Connections(settings.api_connections, settings.api_timeout_seconds)
        return cls(
            settings,
            declared,
            connections,
            Callers(connections, settings.home, any(mart.plans for mart in declared.values())),
            MartStates(connections),
            CsvStreams(
                connections, settings.api_connections // 2, settings.api_csv_timeout_seconds
            ),
            Calls(settings.spool_folder, settings.spool_limit_bytes),
        )

    async def page(self, caller: Caller, query: MartQuery) -> Page:
        """Return a page of a mart that the caller may read. Raises ApiError."""
        caller.check(query.mart)
        state = await self.states.of(query.mart.name)
        return await read_page(self.connections, caller, query, state)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run meanwhile; the database may be away, now and later."""
        await self.connections.open()
        await self.callers.start()
        # What the first request would wait for.
        with suppress(ApiError):
            await self.states.all()
        writing = asyncio.create_task(self.calls.run())
        try:
            yield
        finally:
            writing.cancel()
            await self.calls.write()
            await self.connections.close()


def service_of(request: Request) -> Service:
    """Return the parts of the API that a request came to."""
    return request.app.state.service


async def caller_of(request: Request) -> Caller:
    """Return who asks. Raises ApiError without a valid key."""
    return await service_of(request).callers.caller(request)
