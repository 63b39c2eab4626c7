"""What may be known of a visitor: a hash that no one can trace back after two days."""

from __future__ import annotations

import hmac
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

import psycopg

# A salt is destroyed when its day and the next are over, 48 h after it came into use.
SALT_DAYS = 2
# Crawlers name themselves at the start; a longer text only costs matching time.
LONGEST_USER_AGENT = 1024


def visitor_hash(salt: bytes, client_id: str, ip: str, user_agent: str) -> bytes:
    """Return the 32 bytes of HMAC-SHA256 over client, IP and user agent under the day's salt."""
    message = b"".join([_with_length(part) for part in (client_id, ip, user_agent)])
    return hmac.digest(salt, message, "sha256")


def _with_length(text: str) -> bytes:
    """Put the length before a part, so that no two triples read alike."""
    part = text.encode()
    return len(part).to_bytes(4, "big") + part


@lru_cache(maxsize=65_536)
def is_bot(user_agent: str) -> bool:
    """Tell whether the user agent is a known crawler's."""
    import crawleruseragents

    return crawleruseragents.is_crawler(user_agent[:LONGEST_USER_AGENT])


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
