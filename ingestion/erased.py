"""Who was erased, by keyed hashes alone: what of them is loaded again is suppressed."""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import psycopg

from ingestion import ledger

# Verdicts on texts that are kept in memory: most texts of a file come again and again.
MOST_KNOWN = 100_000
_quoted = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL).findall
_cells = re.compile(rb"[^\s,;|\"{}\[\]]+").findall
_client_of = re.compile(rb'"client_id"\s*:\s*("(?:[^"\\]++|\\.)*+")').search


class SubjectKind(StrEnum):
    """What an identifier names."""

    USER = "user_id"
    LEAD = "lead_id"
    ANONYMOUS = "anonymous_id"
    CLIENT = "client_id"


@dataclass(frozen=True, slots=True)
class Subject:
    """Who is to be erased: under one client alone, or wherever the identifier stands."""

    kind: SubjectKind
    identifier: str
    of_client: str | None = None


@dataclass(frozen=True)
class Erased:
    """The subjects that are erased: one hash for each, by whether it holds for one client alone."""

    newest: int
    key: bytes
    everywhere: frozenset[bytes]
    of_clients: frozenset[bytes]
    _known: dict[tuple[str | None, str], bool] = field(default_factory=dict)

    def names(self, content: Any, client_id: Any) -> bool:
        """Tell whether a line's or row's content holds an erased identifier as a whole value."""
        client = client_id if isinstance(client_id, str) else None
        return any(self.holds(text, client) for text in _texts(content))

    def is_quoted(self, line: bytes) -> bool:
        """Tell the same of a line that can't be read, as far as it can be told of one."""
        found = _client_of(line)
        client = _unquoted(found[1]) if found else None
        texts = [
            *map(_unquoted, _quoted(line)),
            *(cell.decode("utf-8", "replace") for cell in _cells(line)),
        ]
        return any(self.holds(text, client) for text in texts)

    def holds(self, text: str, client: str | None = None) -> bool:
        """Tell whether a text is an erased identifier, of this client or everywhere."""
        verdict = self._known.get((client, text))
        if verdict is None:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            verdict = subject_hash(self.key, text) in self.everywhere or (
                client is not None
                and bool(self.of_clients)
                and subject_hash(self.key, text, client) in self.of_clients
            )
            self._known[client, text] = verdict
        return verdict


def subject_hash(key: bytes, identifier: str, of_client: str | None = None) -> bytes:
    """Return HMAC-SHA256 over an identifier, and over its client where it is of one alone."""
    text = identifier.encode("utf-8", "surrogatepass")
    if of_client is not None:
        client = of_client.encode("utf-8", "surrogatepass")
        # The length before it, so that no two pairs read alike; NUL is in no identifier.
        text = b"\0%d\0%b%b" % (len(client), client, text)
    return hmac.digest(key, text, "sha256")


def hold_off_erasures(connection: psycopg.Connection) -> int:
    """Keep new erasures waiting until this transaction ends; return the newest that there is.

    What is landed in this transaction is either judged by that erasure, or removed by a later one.
    """
    connection.execute("select pg_advisory_xact_lock_shared(%s)", (ledger.lock_key("erasure"),))
    row = connection.execute(
        "select coalesce(max(erasure_id), 0) from warehouse.erasures"
    ).fetchone()
    return row[0] if row else 0


def wait_for_loaders(connection: psycopg.Connection) -> None:
    """Wait until no chunk is being landed; keep new ones waiting until this transaction's end."""
    connection.execute("select pg_advisory_xact_lock(%s)", (ledger.lock_key("erasure"),))


def read_erased(connection: psycopg.Connection) -> Erased | None:
    """Return who is erased; None where nobody is, so that it costs nothing then."""
    found = connection.execute(
        "select e.erasure_id, e.is_of_one_client, e.subject_hash, k.key "
        "from warehouse.erasures as e cross join warehouse.erasure_key as k"
    ).fetchall()
    if not found:
        return None
    return Erased(
        max(number for number, *_ in found),
        found[0][3],
        frozenset(digest for _, of_one, digest, _ in found if not of_one),
        frozenset(digest for _, of_one, digest, _ in found if of_one),
    )


def _texts(content: Any) -> Iterator[str]:
    """Yield every string in parsed JSON, members' names included."""
    waiting = [content]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            yield from one
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)


def _unquoted(quoted: bytes) -> str:
    text = quoted.decode("utf-8", "replace")
    try:
        return json.loads(text, strict=False)
    except ValueError:
        return text[1:-1]
