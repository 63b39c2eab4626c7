"""A web worker of the collector: answers requests until SIGTERM, or until its parent is gone."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import uvicorn

from ingestion.collector import protocol
from ingestion.collector.app import Collector, create_app
from ingestion.collector.protocol import BoundedProtocol
from ingestion.collector.room import Quotas
from ingestion.collector.segments import Waiting
from ingestion.collector.spool import Spool
from warehouse.keys import KnownKeys
from warehouse.settings import settings

KEYS_SECONDS = 1.0
REPORT_SECONDS = 60.0
# Longer than proxies keep idle connections to it.
KEEP_ALIVE_SECONDS = 75
# How long requests under way may take when it is stopped.
STOP_SECONDS = 8
# How long the thread that writes waits for the interpreter, which it needs between system calls.
# With Python's default of 5 ms, requests would wait ten times as long as for the disk.
SWITCH_SECONDS = 0.0001
# Files of one worker beside its connections.
OTHER_FILES = 64


class Server(uvicorn.Server):
    """Stops as uvicorn does, but leaves signals to the worker, which then closes the spool."""

    def __init__(self, config: uvicorn.Config, collector: Collector) -> None:
        super().__init__(config)
        self._collector = collector

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none: uvicorn would raise them again, and end the process."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no new requests, and answer those under way."""
        self._collector.is_stopping = True
        await super().shutdown(sockets)


async def _work(listening: socket.socket, name: str, segment_seconds: float) -> None:
    sys.setswitchinterval(SWITCH_SECONDS)
    folder = settings().spool_folder
    keys = KnownKeys(settings().home)
    keys.refresh()
    spool = Spool(folder, settings().spool_limit_bytes, segment_seconds)
    collector = Collector(keys, spool, Quotas(folder), f"{socket.gethostname()}/{name}", folder)
    config = uvicorn.Config(
        create_app(collector),
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        log_level="error",
        access_log=False,
        server_header=False,
        # Its own setting says which proxies are trusted.
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    server = Server(config, collector)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, server.handle_exit, signal.SIGTERM, None)
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    _end_with_parent(server)
    # What was imported stays: the garbage collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    chores = [
        asyncio.create_task(_refresh(keys)),
        asyncio.create_task(_report(collector)),
    ]
    try:
        await server.serve(sockets=[listening])
    finally:
        for chore in chores:
            chore.cancel()
        with suppress(Exception):
            collector.report_traffic(Waiting())
        await asyncio.to_thread(spool.close)


def _end_with_parent(server: uvicorn.Server) -> None:
    """Stop when standard input ends: its other end is the parent's alone."""

    def ended() -> None:
        if not os.read(0, 1):
            asyncio.get_running_loop().remove_reader(0)
            server.should_exit = True

    asyncio.get_running_loop().add_reader(0, ended)


async def _refresh(keys: KnownKeys) -> None:
    while True:
        await asyncio.sleep(KEYS_SECONDS)
        keys.refresh()


async def _report(collector: Collector) -> None:
    while True:
        await asyncio.sleep(REPORT_SECONDS)
        collector.report_traffic(await collector.what_waits())


def main(descriptor: str, name: str, segment_seconds: str) -> None:
    """Answer requests at a listening socket that was inherited."""
    most_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    protocol.MOST_CONNECTIONS = min(protocol.MOST_CONNECTIONS, most_files - OTHER_FILES)
    with socket.socket(fileno=int(descriptor)) as listening:
        loop_factory = uvicorn.Config("", loop="auto").get_loop_factory()
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(_work(listening, name, float(segment_seconds)))


if __name__ == "__main__":
    main(*sys.argv[1:])
