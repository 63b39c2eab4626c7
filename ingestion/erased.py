"""Who was erased, by keyed hashes alone: what of them is loaded again is suppressed."""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NoReturn

import psycopg

from ingestion import locks
from ingestion.line import Reason
from ingestion.locks import Lock

# Verdicts on texts that are kept in memory: most texts of a file come again and again.
MOST_KNOWN = 100_000
# Each length costs: of erasures from before lengths were noted, identifiers of no more bytes than
# this are sought in lines that are no object.
MOST_BYTES = 64
# Lines that were refused for one of these were not read as an object.
UNREADABLE = (
    Reason.TOO_LARGE,
    Reason.INVALID_ENCODING,
    Reason.INVALID_JSON,
    Reason.NOT_AN_OBJECT,
)
_strings = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL).findall
_runs = re.compile(rb"[A-Za-z0-9_-]+").finditer
_escapes = re.compile(
    rb"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|(.))",
    re.DOTALL,
).sub
_ESCAPED = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}


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
    # Those of one client, without it: for lines that do not tell their client.
    of_any_client: frozenset[bytes]
    # In bytes, of all of them: of a line that is no object only parts as long are hashed.
    lengths: Sequence[int]
    _known: dict[tuple[str | None, str], bool] = field(default_factory=dict)

    def names(self, content: Any, client_id: Any) -> bool:
        """Tell whether a line's or row's content holds an erased identifier as a whole value."""
        client = client_id if isinstance(client_id, str) else None
        return any(self.holds(text, client) for text in _texts(content))

    def is_in_refused(self, line: bytes, reason: Reason) -> bool:
        """Tell whether a refused line holds an erased identifier: the rule of warehouse.line_holds.

        An object holds it as one of its strings; whatever is no object where no ASCII letter,
        digit, _ or - goes on beyond either end. A line that does not tell its client may be of any.
        """
        content = _object(line, reason)
        if content is not None:
            client = _client_of(content)
            return any(self._is_written(_unescaped(text), client) for text in _strings(line))
        written = {line, _unescaped(line), line.replace(b'""', b'"')}
        return any(self._is_written(part, None) for text in written for part in self._parts(text))

    def _is_written(self, text: bytes, client: str | None) -> bool:
        try:
            one = text.decode()
        except UnicodeDecodeError:
            return False
        return self.holds(one, client) or (
            client is None
            and bool(self.of_any_client)
            and subject_hash(self.key, one) in self.of_any_client
        )

    def _parts(self, text: bytes) -> Iterator[bytes]:
        """Yield all parts as long as an erased identifier that neither begin nor end in a word."""
        edges = bytearray(b"\1" * (len(text) + 1))
        for run in _runs(text):
            edges[run.start() + 1 : run.end()] = bytes(run.end() - run.start() - 1)
        # All places at once: those from which another edge is as far as an identifier is long.
        marks = int.from_bytes(edges, "little")
        for length in self.lengths:
            starts = (marks & marks >> 8 * length).to_bytes(len(edges), "little")
            start = starts.find(1)
            while start >= 0:
                yield text[start : start + length]
                start = starts.find(1, start + 1)

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
    locks.take(connection, Lock.LANDING, shared=True)
    row = connection.execute(
        "select coalesce(max(erasure_id), 0) from warehouse.erasures"
    ).fetchone()
    return row[0] if row else 0


def wait_for_loaders(connection: psycopg.Connection) -> None:
    """Wait until no chunk is being landed; keep new ones waiting until this transaction's end."""
    locks.take(connection, Lock.LANDING)


def read_erased(connection: psycopg.Connection) -> Erased | None:
    """Return who is erased; None where nobody is, so that it costs nothing then."""
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
        range(1, MOST_BYTES + 1) if None in lengths else sorted(set(lengths)),
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


def _object(line: bytes, reason: Reason) -> dict[str, Any] | None:
    """Return the object that a refused line is, if it was read as one."""
    if reason in UNREADABLE or not line.lstrip(b" \t\r\n").startswith(b"{"):
        return None
    try:
        return json.loads(line.decode(), parse_constant=_refuse_constant, parse_int=float)
    except (ValueError, RecursionError):
        return None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _client_of(content: dict[str, Any]) -> str | None:
    """Return the client that a refused object speaks of: the rule of warehouse.client_of."""
    actor = content.get("actor")
    named = (actor.get("client_id") if isinstance(actor, dict) else None, content.get("client_id"))
    return next((one for one in named if isinstance(one, str)), None)


def _unescaped(text: bytes) -> bytes:
    """Read JSON's escapes; other characters lose the backslash before them."""
    return _escapes(_meaning, text) if b"\\" in text else text


def _meaning(escape: re.Match[bytes]) -> bytes:
    high, low, unit, other = escape.groups()
    if other:
        return _ESCAPED.get(other, other)
    try:
        return bytes.fromhex((unit or high + low).decode()).decode("utf-16-be").encode()
    except UnicodeDecodeError:
        # Half of a pair: nothing that is in an identifier.
        return b"\xff"
