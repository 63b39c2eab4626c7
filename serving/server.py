"""Runs the HTTP API until SIGTERM or Ctrl-C."""

from __future__ import annotations

import logging

import uvicorn

from serving.app import create_app
from warehouse import database, embedded
from warehouse.settings import settings

STOP_SECONDS = 10
# Browsers and load balancers keep connections for about a minute.
KEEP_ALIVE_SECONDS = 65


def serve(host: str, port: int) -> None:
    """Serve until SIGTERM. Raises SettingError, DatabaseError or CatalogueError."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    logging.getLogger("warehouse.api").setLevel(logging.INFO)
    if database.is_embedded():
        embedded.start()
    uvicorn.run(
        create_app(settings()),
        host=host,
        port=port,
        log_config=None,
        # It would log values of parameters.
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings().trusted_proxies),
        forwarded_allow_ips=list(settings().trusted_proxies),
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
