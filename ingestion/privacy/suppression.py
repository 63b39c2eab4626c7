"""Who was erased, by keyed hashes alone: what of them is loaded again is suppressed."""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NoReturn

import msgspec
import psycopg

from ingestion.contract.line import Reason
from ingestion.privacy.name_forms import (
    SPACE,
    IsErased,
    Presence,
    cut,
    cut_actor,
    cut_json,
    is_named,
    json_presence,
    normal,
    percent_decoded,
    unescaped,
)
from warehouse import locks
from warehouse.locks import Lock

# Texts whose outcome is kept in memory: most texts of a file come again and again.
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
_runs = re.compile(rb"[A-Za-z0-9_-]+").finditer
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


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
    _known: dict[tuple[str | None, bool, bytes], bool] = field(default_factory=dict)
    # By client: what of a line's JSON is known to hold nobody.
    _clean: dict[str | None, set[bytes]] = field(default_factory=dict)

    def presence(self, line: bytes) -> Presence:
        """Tell how an erased subject stands in a line of JSON, whatever else that is."""
        client = _client_of(_read(line)) if self.of_clients else None
        clean = self._clean.setdefault(client, set())
        if len(clean) >= MOST_KNOWN:
            clean.clear()
        return json_presence(line, self._is_erased(client, of_any=client is None), clean=clean)

    def cut(self, line: bytes) -> bytes:
        """Return an event's line without the erased that it mentions, save in the actor's ids."""
        try:
            members = _members(line)
        except ValueError:
            # It is refused, and then looked at as it came.
            return line
        client = _client_of(_read(line)) if self.of_clients else None
        is_erased = self._is_erased(client, of_any=client is None)
        parts = {
            name: msgspec.Raw(cut_json(bytes(part), is_erased))
            for name, part in members.items()
            if name in ("context", "properties")
        }
        if "actor" in members:
            parts["actor"] = msgspec.Raw(cut_actor(bytes(members["actor"]), is_erased))
        return _encode(members | parts)

    def is_in_row(self, canonical: str, client: object) -> bool:
        """Tell whether an entity's row names or mentions an erased subject."""
        is_erased = self._is_erased(client if isinstance(client, str) else None)
        content = canonical.encode()
        return is_named(content, is_erased) or cut(content, is_erased) != content

    def is_in_refused(self, line: bytes, reason: Reason) -> bool:
        """Tell whether a refused line holds an erased identifier: the rule of warehouse.line_holds.

        An object names or mentions it; whatever is no object holds it where no ASCII letter, digit,
        _ or - goes on beyond either end. A line that does not tell its client may be of any.
        """
        content = _object(line, reason)
        if content is not None:
            client = _client_of(content)
            is_erased = self._is_erased(client, of_any=client is None)
            return json_presence(line, is_erased) is not Presence.NONE
        is_erased = self._is_erased(None, of_any=True)
        written = {
            line,
            unescaped(line),
            line.replace(b'""', b'"'),
            percent_decoded(line),
            percent_decoded(line.replace(b"+", b" ")),
        }
        return any(is_erased(part) for text in written for part in self._parts(text))

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

    def holds(self, text: str) -> bool:
        """Tell whether a text names or mentions a subject that is erased everywhere."""
        is_erased = self._is_erased(None)
        content = text.encode("utf-8", "surrogatepass")
        return is_named(content, is_erased) or cut(content, is_erased) != content

    def is_erased_everywhere(self) -> IsErased:
        """Return what tells whether a text is an identifier that is erased under every client."""
        return self._is_erased(None)

    def _is_erased(self, client: str | None, *, of_any: bool = False) -> IsErased:
        """Return what tells whether a text is an erased identifier, of this client or everywhere.

        ``of_any``: of whatever client.
        """

        def is_erased(text: bytes) -> bool:
            known = self._known.get((client, of_any, text))
            if known is None:
                if len(self._known) >= MOST_KNOWN:
                    self._known.clear()
                known = any(self._is_one(one, client, of_any) for one in _spellings(text))
                self._known[client, of_any, text] = known
            return known

        return is_erased

    def _is_one(self, text: bytes, client: str | None, of_any: bool) -> bool:
        digest = _hash(self.key, text)
        return (
            digest in self.everywhere
            or (of_any and digest in self.of_any_client)
            or (
                client is not None
                and bool(self.of_clients)
                and _hash(self.key, text, client) in self.of_clients
            )
        )


def _spellings(text: bytes) -> set[bytes]:
    """Return a text as it is, as receipts were once made, and as identifiers are compared."""
    trimmed = text.strip(SPACE)
    return {text, trimmed, trimmed.lower()} if b"@" in text else {text, trimmed}


def subject_hash(key: bytes, identifier: str, of_client: str | None = None) -> bytes:
    """Return HMAC-SHA256 over an identifier, as it is compared, and over its client if of one."""
    return _hash(key, normal(identifier), of_client)


def _hash(key: bytes, text: bytes, of_client: str | None = None) -> bytes:
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


def _object(line: bytes, reason: Reason) -> dict[str, Any] | None:
    """Return the object that a refused line is, if it was read as one."""
    if reason in UNREADABLE or not line.lstrip(b" \t\r\n").startswith(b"{"):
        return None
    try:
        return json.loads(line.decode(), parse_constant=_refuse_constant, parse_int=float)
    except (ValueError, RecursionError):
        return None


def _read(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _client_of(content: Any) -> str | None:
    """Return the client that a line's object speaks of: the rule of warehouse.client_of."""
    if not isinstance(content, dict):
        return None
    actor = content.get("actor")
    named = (actor.get("client_id") if isinstance(actor, dict) else None, content.get("client_id"))
    return next((one for one in named if isinstance(one, str)), None)
