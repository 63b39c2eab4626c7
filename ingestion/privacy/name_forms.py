"""In which forms a text names somebody: what an erasure finds, and what loaders keep out.

An identifier is named by a text that is it: with space around it, in other case where it holds an
``@``, as a JSON number, after a prefix such as ``mailto:``, percent-encoded, or as a value in JSON
that is kept as a string. It is mentioned by an address of which it is a part: a segment of the
path, a name or value of the query, the user or the host. Whatever names a subject is removed;
out of what mentions it, it is cut.

Texts are read as bytes, in UTF-8, and nothing here can fail on any. The database's functions
warehouse.is_named, warehouse.cut and warehouse.json_presence are the same rules; a property test
holds both equal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from enum import IntEnum
from functools import cache

import msgspec

from ingestion.contract.tracking_plan import Member, tracking_plan

# What is cut out of an address is replaced by this.
ERASED = b"(erased)"
# No other white space is taken off, nor other letters compared in lower case, than ASCII's: so both
# readings agree, whatever version of Unicode the server knows.
SPACE = b" \t\n\r\f\v"
# JSON in a string in JSON, addresses in an address: no deeper than this.
DEEPEST = 3
MOST_PREFIXES = 3
LONGEST_NUMBER = 64
# Of entities' rows, beside the plan's own numbers: limits.
MEASURES_OF_ENTITIES = ("monthly_message_limit", "monthly_token_limit", "monthly_cost_limit")

# Tells whether a text, as it stands, is the identifier of somebody who is erased.
IsErased = Callable[[bytes], bool]

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode
_escapes = re.compile(
    rb"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|(.))",
    re.DOTALL,
).sub
_ESCAPED = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}
# A string that does not end goes to the text's end.
_string = re.compile(rb'"((?:[^"\\]|\\.)*+)"?', re.DOTALL)
_numbers_of = re.compile(
    rb"(?<![A-Za-z0-9_.+-])(-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)(?![A-Za-z0-9_.])"
).findall
_digit = re.compile(rb"[0-9]").search
_prefix = re.compile(rb"[A-Za-z][A-Za-z0-9_.+-]*:(.*)", re.DOTALL).fullmatch
_begins_as_address = re.compile(
    rb"(?:[A-Za-z][A-Za-z0-9+.-]*:)?//|[/?#]|[A-Z]{3,7} /", re.DOTALL
).match
_delimiter = re.compile(rb"[/?#&=]").search
_space = re.compile(rb"[ \t\n\r\f\v]").search
_authority = re.compile(
    rb"([ \t\n\r\f\v]*(?:[A-Za-z][A-Za-z0-9+.-]*:)?//)([^/?#]*)(.*)", re.DOTALL
).fullmatch
_parts = re.compile(rb"[^/?#&;]+").sub
_percent = re.compile(rb"%([0-9A-Fa-f]{2})").sub
_port = re.compile(rb":[0-9]*\Z").sub
_extension = re.compile(rb"(.+)\.[A-Za-z0-9]{1,8}", re.DOTALL).fullmatch


class Presence(IntEnum):
    """How somebody who is erased stands in a text."""

    NONE = 0
    MENTIONED = 1
    NAMED = 2


def normal(identifier: str) -> bytes:
    """Return an identifier as it is compared: trimmed, and in lower case where it holds an @."""
    text = identifier.encode("utf-8", "surrogatepass").strip(SPACE)
    return text.lower() if b"@" in text else text


def is_named(text: bytes, is_erased: IsErased, depth: int = 0) -> bool:
    """Tell whether a text is an erased identifier, in any form."""
    if is_erased(text):
        return True
    text = text.strip(SPACE)
    if text.startswith((b"{", b"[", b'"')):
        return depth < DEEPEST and json_presence(text, is_erased, depth=depth + 1) is Presence.NAMED
    return any(map(is_erased, _readings(text)))


def cut(text: bytes, is_erased: IsErased, depth: int = 0) -> bytes:
    """Return a text without erased identifiers that are a part of it; the same where none is.

    Of an address the part is replaced; JSON in a string is replaced whole.
    """
    stripped = text.strip(SPACE)
    if depth >= DEEPEST:
        return text
    if stripped.startswith((b"{", b"[", b'"')):
        return ERASED if json_presence(stripped, is_erased, depth=depth + 1) else text
    if not _begins_as_address(stripped) and (not _delimiter(stripped) or _space(stripped)):
        return text

    def without(part: re.Match[bytes]) -> bytes:
        whole = part[0]
        if _is_part(whole, is_erased, depth):
            return ERASED
        name, equals, value = whole.partition(b"=")
        if not equals:
            return whole
        return b"=".join(
            ERASED if _is_part(one, is_erased, depth) else one for one in (name, value)
        )

    if found := _authority(text):
        begin, authority, rest = found.groups()
        return begin + _cut_authority(authority, is_erased) + _parts(without, rest)
    return _parts(without, text)


def json_presence(
    text: bytes, is_erased: IsErased, *, depth: int = 0, clean: set[bytes] | None = None
) -> Presence:
    """Tell how somebody who is erased stands in JSON: in its strings, names and numbers.

    ``clean`` are strings as they are written, and numbers after a NUL, that hold nobody: those of
    this text are added, so that another text with them is read faster.
    """
    found = Presence.NONE
    clean = set() if clean is None else clean
    pieces = _split(text)
    for string in set(pieces[1::2]) - clean:
        one = unescaped(string)
        if is_named(one, is_erased, depth):
            return Presence.NAMED
        if cut(one, is_erased, depth) != one:
            found = Presence.MENTIONED
        else:
            clean.add(string)
    name, looked_at = b"", 0
    for place in [2 * n for n, between in enumerate(pieces[0::2]) if _digit(between)]:
        # The last member's name: a string before a colon.
        for between in range(place, looked_at, -2):
            if pieces[between].lstrip(b" \t\n\r").startswith(b":"):
                name = unescaped(pieces[between - 1])
                break
        looked_at = place
        for number in _numbers_of(pieces[place]):
            # A NUL is in no JSON: it keeps numbers and strings apart.
            written = b"\0" + number
            if written in clean or name in measures():
                continue
            if any(map(is_erased, _number_forms(number, depth))):
                return Presence.NAMED
            clean.add(written)
    return found


def cut_json(text: bytes, is_erased: IsErased) -> bytes:
    """Return JSON with erased identifiers cut out of its strings; all else as it came."""

    def without(string: re.Match[bytes]) -> bytes:
        one = unescaped(string[1])
        after = cut(one, is_erased)
        return string[0] if after == one else b'"%b"' % _escaped(after)

    return _string.sub(without, text)


def cut_actor(text: bytes, is_erased: IsErased) -> bytes:
    """Return an actor's JSON with erased identifiers cut out of all but the ids of the plan.

    Those are whole values: one out of which something was cut would be another's.
    """
    try:
        members = _members(text)
    except msgspec.DecodeError:
        # It is no object: such an event is refused.
        return text
    unknown = {name: one for name, one in members.items() if name not in tracking_plan().actor}
    if not unknown:
        return text
    known = {name: one for name, one in members.items() if name not in unknown}
    return _encode(known | _members(cut_json(_encode(unknown), is_erased)))


def is_file_of(name: bytes, is_erased: IsErased) -> bool:
    """Tell whether a file's path names or mentions somebody, with or without its extensions."""
    if is_named(name, is_erased) or cut(name, is_erased) != name:
        return True
    stem = name.rpartition(b"/")[2]
    while stem:
        if is_named(stem, is_erased):
            return True
        found = _extension(stem)
        stem = found[1] if found else b""
    return False


def unescaped(text: bytes) -> bytes:
    """Read JSON's escapes; other characters lose the backslash before them."""
    return _escapes(_meaning, text) if b"\\" in text else text


def percent_decoded(text: bytes) -> bytes:
    """Read %XX; NUL becomes a byte that is in no identifier."""
    return _percent(lambda found: bytes.fromhex(found[1].decode()).replace(b"\0", b"\xff"), text)


@cache
def measures() -> frozenset[bytes]:
    """Return the members that the contract declares as numbers: they measure, and name nobody."""
    plan = tracking_plan()
    groups = (plan.actor, plan.context, *(event.properties for event in plan.events.values()))
    names = {name for members in groups for name in _numbers(members)}
    return frozenset(name.encode() for name in (*names, *MEASURES_OF_ENTITIES))


def _split(text: bytes) -> list[bytes]:
    """Return what stands before, in and between the strings of JSON, in turn.

    A string that does not end goes to the text's end.
    """
    if b"\\" in text:
        return _string.split(text)
    pieces = text.split(b'"')
    # An odd number of quotes.
    return pieces if len(pieces) % 2 else [*pieces, b""]


def _numbers(members: dict[str, Member]) -> Iterator[str]:
    for name, member in members.items():
        if member.type in ("integer", "number"):
            yield name
        yield from _numbers(member.members)


def _readings(text: bytes) -> Iterator[bytes]:
    """Yield what a text may stand for: without a prefix, without percent-encoding."""
    if b"%" in text:
        yield percent_decoded(text)
    for _ in range(MOST_PREFIXES):
        found = _prefix(text)
        if found is None:
            return
        text = found[1]
        # As in mailto:ann@example.com?subject=hello.
        for one in {text, text.partition(b"?")[0]}:
            yield one
            if b"%" in one:
                yield percent_decoded(one)


def _is_part(part: bytes, is_erased: IsErased, depth: int) -> bool:
    """Tell whether a part of an address is an erased identifier, or an address that has one."""
    if is_erased(part) or any(map(is_erased, _readings(part.strip(SPACE)))):
        return True
    if b"+" in part and is_erased(percent_decoded(part.replace(b"+", b" "))):
        return True
    if b"%" not in part:
        return False
    decoded = percent_decoded(part)
    return is_named(decoded, is_erased, depth + 1) or cut(decoded, is_erased, depth + 1) != decoded


def _cut_authority(authority: bytes, is_erased: IsErased) -> bytes:
    """Cut user and host out of an address's authority, each by itself."""
    user, at, host = authority.rpartition(b"@")
    names = (user, user.partition(b":")[0], authority)
    if at and any(is_erased(one) or is_erased(percent_decoded(one)) for one in names):
        user = ERASED
    # As dbt's macro host_of reads it.
    known = _port(b"", host).lower()
    if is_erased(known.removeprefix(b"www.")):
        host = ERASED
    return user + at + host


def _number_forms(number: bytes, depth: int) -> Iterator[bytes]:
    """Yield a number as PostgreSQL writes it, and without zeros after its point.

    Only where the server's jsonb has done so already are exponents read.
    """
    if b"e" in number.lower():
        exponent = number.lower().partition(b"e")[2].lstrip(b"+-")
        if depth or len(number) > LONGEST_NUMBER or len(exponent) > 3:
            return
        number = format(Decimal(number.decode()), "f").encode()
    yield number
    if b"." in number:
        yield number.rstrip(b"0").rstrip(b".")


def _meaning(escape: re.Match[bytes]) -> bytes:
    high, low, unit, other = escape.groups()
    if other:
        return _ESCAPED.get(other, other)
    try:
        return bytes.fromhex((unit or high + low).decode()).decode("utf-16-be").encode()
    except UnicodeDecodeError:
        # Half of a pair: nothing that is in an identifier.
        return b"\xff"


def _escaped(text: bytes) -> bytes:
    """Write a text as the inside of a JSON string."""
    return re.sub(
        rb'[\x00-\x1f"\\]',
        lambda found: b"\\u%04x" % found[0][0],
        text,
    )
