"""The erasures so far: how loaders read them, and how loads and erasures wait for each other."""

from __future__ import annotations

import psycopg

from ingestion.privacy.suppression import LONGEST_SOUGHT_IDENTIFIER, Erased
from warehouse import locks
from warehouse.locks import Lock


def block_erasures(connection: psycopg.Connection) -> int:
    """Block new erasures until this transaction ends; return the id of the newest erasure.

    Lines that land in this transaction are either suppressed by the erasures so far or removed by a
    later one.
    """
    locks.take(connection, Lock.LANDING, shared=True)
    row = connection.execute(
        "select coalesce(max(erasure_id), 0) from warehouse.erasures"
    ).fetchone()
    return row[0] if row else 0


def wait_for_loaders(connection: psycopg.Connection) -> None:
    """Wait until no chunk is being landed, and block new ones until this transaction ends."""
    locks.take(connection, Lock.LANDING)


def read_erased(connection: psycopg.Connection) -> Erased | None:
    """Return the erased subjects, None if there are none: then suppression costs nothing."""
    found = connection.execute(
        "select e.erasure_id, e.is_of_one_client, e.subject_hash, k.key, e.identifier_hash, "
        "e.identifier_length from warehouse.erasures as e cross join warehouse.erasure_key as k"
    ).fetchall()
    if not found:
        return None
    newest, of_one_client, digests, keys, of_any_client, lengths = zip(*found, strict=True)
    by_scope = list(zip(of_one_client, digests, strict=True))
    return Erased(
        max(newest),
        keys[0],
        frozenset(digest for of_one, digest in by_scope if not of_one),
        frozenset(digest for of_one, digest in by_scope if of_one),
        frozenset(of_any_client) - {None},
        range(1, LONGEST_SOUGHT_IDENTIFIER + 1) if None in lengths else sorted(set(lengths)),
    )
