"""The ports of `warehouse serve`: probed before anything starts, and where people reach them."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping

from orchestration.serve.guard import LOOPBACK, WILDCARDS
from warehouse.errors import WarehouseError
from warehouse.settings import settings


class PortError(WarehouseError):
    """A port can't be used."""


def probe(host: str, ports: Mapping[str, int]) -> None:
    """Check that servers can listen on ports, which are named by the options that choose them.

    Raises PortError where another program uses one, or two options name the same.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.ExitStack() as held:
        for option, port in ports.items():
            try:
                held.enter_context(socket.create_server((host, port), family=family))
            except OSError as error:
                reason = os.strerror(error.errno) if error.errno else str(error)
                raise PortError(
                    f"Port {port} of {host} can't be used: {reason}. Choose another one "
                    f"with {option}."
                ) from None


def answers(host: str, port: int) -> bool:
    """Return whether a server listens on a port."""
    try:
        with socket.create_connection((_reached_at(host).strip("[]"), port), timeout=1):
            return True
    except OSError:
        return False


def link_to(host: str, *, port: int, docs_port: int) -> None:
    """Let links name the ports of this run, for this process and its children.

    Addresses that were set explicitly, those of a proxy for example, stay.
    """
    for name, at in {"dagster_url": port, "docs_url": docs_port}.items():
        if settings().given(name) is None:
            os.environ[f"WAREHOUSE_{name.upper()}"] = f"http://{_reached_at(host)}:{at}"
    settings.cache_clear()


def _reached_at(host: str) -> str:
    """Return the name by which a browser reaches a server that listens at an address."""
    address = f"[{host}]" if ":" in host else host
    return "localhost" if address in LOOPBACK | WILDCARDS else address
