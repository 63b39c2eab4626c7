"""Visitor hashes that nobody can trace back after two days, IP addresses, and crawlers."""

from __future__ import annotations

import hmac
import re
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # Workers validate without a database.
    import psycopg

# A salt is destroyed after its day and the next day, so 48 h after the start of its day.
SALT_DAYS = 2
# In characters. Crawlers are named at the start of a user agent, and matching a long one takes
# longer than everything else in a line.
LONGEST_USER_AGENT = 256
# In characters. No address with zone, brackets and port is longer; also keeps the cache small.
LONGEST_ADDRESS = 128
_is_port = re.compile(r"(:[0-9]+)?").fullmatch


def visitor_hash(salt: bytes, client_id: str, ip: str, user_agent: str) -> bytes:
    """Return HMAC-SHA256 (32 bytes) of client, IP and user agent with the day's salt."""
    message = b"".join([_with_length(part) for part in (client_id, ip, user_agent)])
    return hmac.digest(salt, message, "sha256")


def _with_length(text: str) -> bytes:
    """Return a part with its length before it, which makes the joined parts unambiguous."""
    part = text.encode()
    return len(part).to_bytes(4, "big") + part


def address_of(ip: str) -> str | None:
    """Return the canonical form of an IP as producers send it, None if it is not an address.

    Of a list the first address counts. Port, brackets and zone are removed; an IPv6 address is
    compressed and in lower case; an IPv4-mapped IPv6 address becomes the IPv4 address.
    """
    first = ip if len(ip) <= LONGEST_ADDRESS else ip.partition(",")[0].strip()
    return _address(first) if len(first) <= LONGEST_ADDRESS else None


@lru_cache(maxsize=65_536)
def _address(ip: str) -> str | None:
    text = ip.partition(",")[0].strip()
    if text.startswith("["):
        text, bracket, port = text[1:].partition("]")
    else:
        # An IPv6 address has more than one colon, and may have a port only if it is in brackets.
        bracket, at = "]", text.find(":") if text.count(":") == 1 else len(text)
        text, port = text[:at], text[at:]
    if not bracket or not _is_port(port):
        return None
    address: IPv4Address | IPv6Address | None = None
    with suppress(ValueError):
        address = ip_address(text)
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or IPv6Address(int(address))
    return str(address) if address else None


def is_bot(user_agent: str) -> bool:
    """Return whether the user agent is that of a known crawler."""
    start = user_agent if len(user_agent) <= LONGEST_USER_AGENT else user_agent[:LONGEST_USER_AGENT]
    return _is_bot(start)


@lru_cache(maxsize=65_536)
def _is_bot(user_agent: str) -> bool:
    import crawleruseragents

    return crawleruseragents.is_crawler(user_agent)


def destroy_salts(connection: psycopg.Connection) -> int:
    """Destroy the expired salts; return how many."""
    return connection.execute(
        "delete from staging.visitor_salts where day <= %s",
        (datetime.now(UTC).date() - timedelta(days=SALT_DAYS),),
    ).rowcount


def salt_of(connection: psycopg.Connection, day: date) -> bytes:
    """Return the salt of a day of receipt (UTC); the server generates it at its first use.

    Also destroys the expired salts.
    """
    destroy_salts(connection)
    connection.execute(
        # Two random UUIDs carry 244 random bits from the server's strong source.
        "insert into staging.visitor_salts (day, salt) "
        "values (%s, uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())) "
        "on conflict do nothing",
        (day,),
    )
    row = connection.execute(
        "select salt from staging.visitor_salts where day = %s", (day,)
    ).fetchone()
    if row is None:
        raise RuntimeError(f"the salt of {day} is destroyed already: check this machine's clock")
    return row[0]
