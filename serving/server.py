"""Runs the HTTP API until SIGTERM or Ctrl-C."""

from __future__ import annotations

import gc
import logging

import uvicorn

from serving.app import create_app, prefix_of
from warehouse import database, embedded
from warehouse.settings import settings

logger = logging.getLogger("warehouse.api")

STOP_SECONDS = 10
# Browsers and load balancers keep connections for about a minute.
KEEP_ALIVE_SECONDS = 65


def serve(host: str, port: int) -> None:
    """Serve until SIGTERM. Raises SettingError, DatabaseError or CatalogueError."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    logger.setLevel(logging.INFO)
    # The log doesn't show them, and finding them out takes as long as the rest of a line.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    if database.is_embedded():
        embedded.start()
    served = config(host, port)
    try:
        database.connect_as_api().close()
    except database.DatabaseError as error:
        logger.warning("The API answers 503 meanwhile: %s", error)
    # What was made until now stays: looking through it for garbage would hold up requests. They
    # leave few cycles themselves, so that it is looked for seldom.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    uvicorn.Server(served).run()


def config(host: str, port: int) -> uvicorn.Config:
    """Return how the API is served. Raises SettingError, DatabaseError or CatalogueError."""
    return uvicorn.Config(
        create_app(settings()),
        host=host,
        port=port,
        log_config=None,
        # It would log values of parameters.
        access_log=False,
        server_header=False,
        root_path=prefix_of(settings()),
        proxy_headers=bool(settings().trusted_proxies),
        forwarded_allow_ips=[str(network) for network in settings().trusted_proxies],
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
