"""What may be known of a visitor: a hash that no one can trace back after two days."""

from __future__ import annotations

import hmac
import re
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

import psycopg

# A salt is destroyed when its day and the next are over, 48 h after it came into use.
SALT_DAYS = 2
# Crawlers name themselves early; a longer text only costs matching time, more than a line's.
LONGEST_USER_AGENT = 256
# No address is longer, with zone, brackets and port; what is remembered stays small, too.
LONGEST_ADDRESS = 128
_is_port = re.compile(r"(:[0-9]+)?").fullmatch


def visitor_hash(salt: bytes, client_id: str, ip: str, user_agent: str) -> bytes:
    """Return the 32 bytes of HMAC-SHA256 over client, IP and user agent under the day's salt."""
    message = b"".join([_with_length(part) for part in (client_id, ip, user_agent)])
    return hmac.digest(salt, message, "sha256")


def _with_length(text: str) -> bytes:
    """Put the length before a part, so that no two triples read alike."""
    part = text.encode()
    return len(part).to_bytes(4, "big") + part


def address_of(ip: str) -> str | None:
    """Return the one spelling of what producers send as an IP; None where it is no address.

    It is that of the first address in a list, without port, brackets and zone: an IPv6 address in
    lower case and compressed, an IPv4 address that is mapped into IPv6 as such.
    """
    first = ip if len(ip) <= LONGEST_ADDRESS else ip.partition(",")[0].strip()
    return _address(first) if len(first) <= LONGEST_ADDRESS else None


@lru_cache(maxsize=65_536)
def _address(ip: str) -> str | None:
    text = ip.partition(",")[0].strip()
    if text.startswith("["):
        text, bracket, port = text[1:].partition("]")
    else:
        # An IPv6 address has more than one colon, and takes a port in brackets alone.
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
    """Tell whether the user agent is a known crawler's."""
    start = user_agent if len(user_agent) <= LONGEST_USER_AGENT else user_agent[:LONGEST_USER_AGENT]
    return _is_bot(start)


@lru_cache(maxsize=65_536)
def _is_bot(user_agent: str) -> bool:
    import crawleruseragents

    return crawleruseragents.is_crawler(user_agent)


def destroy_salts(connection: psycopg.Connection) -> int:
    """Destroy the salts that have had their time; return how many."""
    return connection.execute(
        "delete from staging.visitor_salts where day <= %s",
        (datetime.now(UTC).date() - timedelta(days=SALT_DAYS),),
    ).rowcount


def salt_of(connection: psycopg.Connection, day: date) -> bytes:
    """Return the salt of a day of receipt (UTC), drawn by the server if it is the first use.

    Destroys the salts that have had their time.
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
        raise RuntimeError(
            f"the salt of {day} is destroyed already: is this machine's clock wrong?"
        )
    return row[0]
