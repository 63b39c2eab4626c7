"""Which address a request came from, with trusted proxies before the collector."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address

from ingestion.privacy.visitors import address_of

Network = IPv4Network | IPv6Network


def client_address(peer: str | None, forwarded: str, trusted: Sequence[Network]) -> str | None:
    """Return the address of whoever sent a request.

    ``forwarded`` is the header `X-Forwarded-For`, addresses separated by commas. Each proxy appends
    the address that it was reached from, so they are read from the end, as long as the address
    before belongs to a trusted proxy. The others may be forged.
    """
    address = address_of(peer) if peer else None
    if not trusted or address is None:
        return address
    hops = forwarded.split(",") if forwarded else []
    while hops and is_trusted(address, tuple(trusted)):
        before = address_of(hops.pop())
        if before is None:
            break
        address = before
    return address


@lru_cache(maxsize=65_536)
def is_trusted(address: str, trusted: tuple[Network, ...]) -> bool:
    """Return whether an address belongs to a trusted proxy."""
    parsed = ip_address(address)
    return any(parsed in network for network in trusted)
