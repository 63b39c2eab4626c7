"""Suppresses lines of erased subjects, which are known by keyed hashes only.

What counts as a line of an erased subject is decided here and in ``name_forms.py``; see there for
the same rules in SQL.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NoReturn

import msgspec

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
    normalized_identifier,
    percent_decoded,
    unescaped,
)

# Entries of the cache of compared texts: most texts of a file occur many times.
CACHE_SIZE = 100_000
# In bytes. For erasures without a recorded length: in lines that are not JSON objects, only
# identifiers up to this length are searched, because each length costs time.
LONGEST_SOUGHT_IDENTIFIER = 64
# Lines rejected for one of these reasons were not parsed as a JSON object.
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
    """What an identifier identifies."""

    USER = "user_id"
    LEAD = "lead_id"
    ANONYMOUS = "anonymous_id"
    CLIENT = "client_id"


@dataclass(frozen=True, slots=True)
class Subject:
    """A subject to erase: for one client only, or everywhere."""

    kind: SubjectKind
    identifier: str
    of_client: str | None = None


@dataclass(frozen=True)
class Erased:
    """The erased subjects: a hash of each, grouped by everywhere and for one client."""

    newest: int
    key: bytes
    everywhere: frozenset[bytes]
    of_clients: frozenset[bytes]
    # Hashes of the subjects in of_clients without their client: for lines that name no client.
    of_any_client: frozenset[bytes]
    # Lengths of all identifiers in bytes: in a line that is not an object, parts of these lengths
    # are hashed.
    lengths: Sequence[int]
    _compared: dict[tuple[str | None, bool, bytes], bool] = field(default_factory=dict)
    # By client: the cache of json_presence.
    _clean: dict[str | None, set[bytes]] = field(default_factory=dict)

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process gets: all but the caches."""
        return self.__dict__ | {"_compared": {}, "_clean": {}}

    def presence(self, line: bytes) -> Presence:
        """Return how a line, which need not be valid JSON, contains an erased subject."""
        client = _client_of(_read(line)) if self.of_clients else None
        clean = self._clean.setdefault(client, set())
        if len(clean) >= CACHE_SIZE:
            clean.clear()
        return json_presence(line, self._is_erased(client, any_client=client is None), clean=clean)

    def cut(self, line: bytes) -> bytes:
        """Cut erased identifiers out of an event's line, except out of the actor's ids."""
        try:
            members = _members(line)
        except ValueError:
            # The line is rejected later, and then searched as received (is_in_refused).
            return line
        client = _client_of(_read(line)) if self.of_clients else None
        is_erased = self._is_erased(client, any_client=client is None)
        parts = {
            name: msgspec.Raw(cut_json(bytes(part), is_erased))
            for name, part in members.items()
            if name in ("context", "properties")
        }
        if "actor" in members:
            parts["actor"] = msgspec.Raw(cut_actor(bytes(members["actor"]), is_erased))
        return _encode(members | parts)

    def is_in_row(self, canonical: str, client: object) -> bool:
        """Return whether an entity's row names or mentions an erased subject."""
        is_erased = self._is_erased(client if isinstance(client, str) else None)
        content = canonical.encode()
        return is_named(content, is_erased) or cut(content, is_erased) != content

    def is_in_refused(self, line: bytes, reason: Reason) -> bool:
        """Return whether a rejected line contains an erased identifier, like warehouse.line_holds.

        A JSON object contains it if it names or mentions it. Any other line contains it if no
        ASCII letter, digit, _ or - is directly beside it. A line that names no client may belong to
        any.
        """
        content = _object(line, reason)
        if content is not None:
            client = _client_of(content)
            is_erased = self._is_erased(client, any_client=client is None)
            return json_presence(line, is_erased) is not Presence.NONE
        is_erased = self._is_erased(None, any_client=True)
        written = {
            line,
            unescaped(line),
            line.replace(b'""', b'"'),
            percent_decoded(line),
            percent_decoded(line.replace(b"+", b" ")),
        }
        return any(is_erased(part) for text in written for part in self._parts(text))

    def _parts(self, text: bytes) -> Iterator[bytes]:
        """Yield all parts between word edges that have the length of an erased identifier."""
        edges = bytearray(b"\1" * (len(text) + 1))
        for run in _runs(text):
            edges[run.start() + 1 : run.end()] = bytes(run.end() - run.start() - 1)
        # Find all starts at once: the edges with another edge at the distance of the length.
        marks = int.from_bytes(edges, "little")
        for length in self.lengths:
            starts = (marks & marks >> 8 * length).to_bytes(len(edges), "little")
            start = starts.find(1)
            while start >= 0:
                yield text[start : start + length]
                start = starts.find(1, start + 1)

    def holds(self, text: str) -> bool:
        """Return whether a text names or mentions a subject that is erased everywhere."""
        is_erased = self._is_erased(None)
        content = text.encode("utf-8", "surrogatepass")
        return is_named(content, is_erased) or cut(content, is_erased) != content

    def is_erased_everywhere(self) -> IsErased:
        """Return the test for identifiers that are erased everywhere."""
        return self._is_erased(None)

    def _is_erased(self, client: str | None, *, any_client: bool = False) -> IsErased:
        """Return the test for identifiers that are erased everywhere or for this client.

        With ``any_client``, also those that are erased for any other client.
        """

        def is_erased(text: bytes) -> bool:
            known = self._compared.get((client, any_client, text))
            if known is None:
                if len(self._compared) >= CACHE_SIZE:
                    self._compared.clear()
                known = any(self._is_one(one, client, any_client) for one in _spellings(text))
                self._compared[client, any_client, text] = known
            return known

        return is_erased

    def _is_one(self, text: bytes, client: str | None, any_client: bool) -> bool:
        digest = _hash(self.key, text)
        return (
            digest in self.everywhere
            or (any_client and digest in self.of_any_client)
            or (
                client is not None
                and bool(self.of_clients)
                and _hash(self.key, text, client) in self.of_clients
            )
        )


def _spellings(text: bytes) -> set[bytes]:
    """Return a text as it is (older receipts hashed that), trimmed, and in lower case with an @."""
    trimmed = text.strip(SPACE)
    return {text, trimmed, trimmed.lower()} if b"@" in text else {text, trimmed}


def subject_hash(key: bytes, identifier: str, of_client: str | None = None) -> bytes:
    """Return the HMAC-SHA256 of a normalized identifier and, if given, its client."""
    return _hash(key, normalized_identifier(identifier), of_client)


def _hash(key: bytes, text: bytes, of_client: str | None = None) -> bytes:
    if of_client is not None:
        client = of_client.encode("utf-8", "surrogatepass")
        # The client's length makes the pair unambiguous; no identifier contains a NUL.
        text = b"\0%d\0%b%b" % (len(client), client, text)
    return hmac.digest(key, text, "sha256")


def _object(line: bytes, reason: Reason) -> dict[str, Any] | None:
    """Return a rejected line as an object, None if it is not one."""
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
    """Return the client that a line's object names, like warehouse.client_of."""
    if not isinstance(content, dict):
        return None
    actor = content.get("actor")
    named = (actor.get("client_id") if isinstance(actor, dict) else None, content.get("client_id"))
    return next((one for one in named if isinstance(one, str)), None)
