"""The rules for which texts name or mention a subject: erasures find these, loaders suppress them.

A text *names* a subject if it is the identifier: with space around it, in upper or lower case if it
contains an ``@``, as a JSON number, after a prefix such as ``mailto:``, percent-encoded, or as a
value in JSON inside of a string. A text *mentions* a subject if it is an address and the identifier
is a part of it: a segment of the path, a name or value of the query, the user or the host. A text
that names a subject is removed; out of a text that mentions it the identifier is cut.

The same rules exist in two languages, because loaders know subjects only by keyed hashes and
erasures search the database. Here and in ``suppression.py`` they are in Python; in SQL they are
warehouse.is_named, warehouse.cut_bytes and warehouse.json_presence, and for rejected lines
warehouse.line_holds. tests/properties/test_erased.py holds both equal: change both together.

Texts are read as bytes in UTF-8, and no content makes a function here fail.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from enum import IntEnum
from functools import cache

import msgspec

from ingestion.contract.tracking_plan import Member, tracking_plan

# Replaces what is cut out of an address.
ERASED = b"(erased)"
# Only ASCII white space is trimmed and only ASCII letters change case, so that Python and SQL agree
# whatever Unicode version the server has.
SPACE = b" \t\n\r\f\v"
# Levels of JSON in a string in JSON, and of addresses in an address, that are searched.
DEEPEST = 3
MOST_PREFIXES = 3
LONGEST_NUMBER = 64
# Columns of entities with numbers, in addition to the numbers in the plan.
NUMERIC_COLUMNS_OF_ENTITIES = ("monthly_message_limit", "monthly_token_limit", "monthly_cost_limit")

# Returns whether a text, without further decoding, is the identifier of an erased subject.
IsErased = Callable[[bytes], bool]

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode
_escapes = re.compile(
    rb"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|(.))",
    re.DOTALL,
).sub
_ESCAPED = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}
# An unclosed string ends at the end of the text.
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
    """How a text contains an erased subject."""

    NONE = 0
    MENTIONED = 1
    NAMED = 2


def normalized_identifier(identifier: str) -> bytes:
    """Normalize an identifier for comparison: trimmed, and in lower case if it contains an @."""
    text = identifier.encode("utf-8", "surrogatepass").strip(SPACE)
    return text.lower() if b"@" in text else text


def is_named(text: bytes, is_erased: IsErased, depth: int = 0) -> bool:
    """Return whether a text names an erased subject, in any form."""
    if is_erased(text):
        return True
    text = text.strip(SPACE)
    if text.startswith((b"{", b"[", b'"')):
        return depth < DEEPEST and json_presence(text, is_erased, depth=depth + 1) is Presence.NAMED
    return any(map(is_erased, _decoded_forms(text)))


def cut(text: bytes, is_erased: IsErased, depth: int = 0) -> bytes:
    """Cut erased identifiers out of an address: replace each such part by ERASED.

    JSON in a string is replaced as a whole. Any other text is returned unchanged.
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
    """Return how JSON contains an erased subject, in its strings, names and numbers.

    ``clean`` is a cache of strings (as written) and numbers (after a NUL) that contain no erased
    subject. Those of this text are added, which makes the next texts faster.
    """
    found = Presence.NONE
    clean = set() if clean is None else clean
    pieces = _split_at_strings(text)
    for string in set(pieces[1::2]) - clean:
        one = unescaped(string)
        if is_named(one, is_erased, depth):
            return Presence.NAMED
        if cut(one, is_erased, depth) != one:
            found = Presence.MENTIONED
        else:
            clean.add(string)
    name, searched_to = b"", 0
    for index in [2 * n for n, outside in enumerate(pieces[0::2]) if _digit(outside)]:
        # Find the name of the last member: the string before a colon.
        for before in range(index, searched_to, -2):
            if pieces[before].lstrip(b" \t\n\r").startswith(b":"):
                name = unescaped(pieces[before - 1])
                break
        searched_to = index
        for number in _numbers_of(pieces[index]):
            # A NUL never occurs in JSON, so it distinguishes numbers from strings.
            written = b"\0" + number
            if written in clean or name in numeric_members():
                continue
            if any(map(is_erased, _number_forms(number, depth))):
                return Presence.NAMED
            clean.add(written)
    return found


def cut_json(text: bytes, is_erased: IsErased) -> bytes:
    """Cut erased identifiers out of the strings of JSON; leave everything else as received."""

    def without(string: re.Match[bytes]) -> bytes:
        one = unescaped(string[1])
        after = cut(one, is_erased)
        return string[0] if after == one else b'"%b"' % _json_escaped(after)

    return _string.sub(without, text)


def cut_actor(text: bytes, is_erased: IsErased) -> bytes:
    """Cut erased identifiers out of an actor's JSON, except out of the ids of the plan.

    Ids are whole values: one with a part cut out would be another subject's id.
    """
    try:
        members = _members(text)
    except msgspec.DecodeError:
        # Not an object: the event is rejected later.
        return text
    unknown = {name: one for name, one in members.items() if name not in tracking_plan().actor}
    if not unknown:
        return text
    known = {name: one for name, one in members.items() if name not in unknown}
    return _encode(known | _members(cut_json(_encode(unknown), is_erased)))


def is_in_path(name: bytes, is_erased: IsErased) -> bool:
    """Return whether a path names or mentions an erased subject, with or without extensions."""
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
    """Decode JSON's escapes; any other character loses the backslash before it."""
    return _escapes(_decode_escape, text) if b"\\" in text else text


def percent_decoded(text: bytes) -> bytes:
    """Decode %XX; NUL becomes 0xFF, a byte that no identifier contains."""
    return _percent(lambda found: bytes.fromhex(found[1].decode()).replace(b"\0", b"\xff"), text)


@cache
def numeric_members() -> frozenset[bytes]:
    """Return the members that the contract declares as numbers: they are never identifiers."""
    plan = tracking_plan()
    groups = (plan.actor, plan.context, *(event.properties for event in plan.events.values()))
    names = {name for members in groups for name in _numbers(members)}
    return frozenset(name.encode() for name in (*names, *NUMERIC_COLUMNS_OF_ENTITIES))


def _split_at_strings(text: bytes) -> list[bytes]:
    """Split JSON at its strings: text outside of strings and strings alternate in the result.

    An unclosed string ends at the end of the text.
    """
    if b"\\" in text:
        return _string.split(text)
    pieces = text.split(b'"')
    # An unclosed string: add the empty text after it.
    return pieces if len(pieces) % 2 else [*pieces, b""]


def _numbers(members: dict[str, Member]) -> Iterator[str]:
    for name, member in members.items():
        if member.type in ("integer", "number"):
            yield name
        yield from _numbers(member.members)


def _decoded_forms(text: bytes) -> Iterator[bytes]:
    """Yield the decoded forms of a text: without a prefix, without percent-encoding."""
    if b"%" in text:
        yield percent_decoded(text)
    for _ in range(MOST_PREFIXES):
        found = _prefix(text)
        if found is None:
            return
        text = found[1]
        # For example mailto:ann@example.com?subject=hello.
        for one in {text, text.partition(b"?")[0]}:
            yield one
            if b"%" in one:
                yield percent_decoded(one)


def _is_part(part: bytes, is_erased: IsErased, depth: int) -> bool:
    """Return whether a part of an address is, or contains in encoded form, an erased identifier."""
    if is_erased(part) or any(map(is_erased, _decoded_forms(part.strip(SPACE)))):
        return True
    if b"+" in part and is_erased(percent_decoded(part.replace(b"+", b" "))):
        return True
    if b"%" not in part:
        return False
    decoded = percent_decoded(part)
    return is_named(decoded, is_erased, depth + 1) or cut(decoded, is_erased, depth + 1) != decoded


def _cut_authority(authority: bytes, is_erased: IsErased) -> bytes:
    """Cut an erased user or host out of an address's authority."""
    user, at, host = authority.rpartition(b"@")
    names = (user, user.partition(b":")[0], authority)
    if at and any(is_erased(one) or is_erased(percent_decoded(one)) for one in names):
        user = ERASED
    # The same normalization as in dbt's macro host_of.
    known = _port(b"", host).lower()
    if is_erased(known.removeprefix(b"www.")):
        host = ERASED
    return user + at + host


def _number_forms(number: bytes, depth: int) -> Iterator[bytes]:
    """Yield a number as PostgreSQL writes it, and without trailing zeros after its point.

    Exponents are expanded only where jsonb does so when it stores a number: not in JSON inside of
    strings (depth above 0).
    """
    if b"e" in number.lower():
        exponent = number.lower().partition(b"e")[2].lstrip(b"+-")
        if depth or len(number) > LONGEST_NUMBER or len(exponent) > 3:
            return
        number = format(Decimal(number.decode()), "f").encode()
    yield number
    if b"." in number:
        yield number.rstrip(b"0").rstrip(b".")


def _decode_escape(escape: re.Match[bytes]) -> bytes:
    high, low, unit, other = escape.groups()
    if other:
        return _ESCAPED.get(other, other)
    try:
        return bytes.fromhex((unit or high + low).decode()).decode("utf-16-be").encode()
    except UnicodeDecodeError:
        # A lone surrogate: a byte that no identifier contains.
        return b"\xff"


def _json_escaped(text: bytes) -> bytes:
    """Encode a text as the content of a JSON string."""
    return re.sub(
        rb'[\x00-\x1f"\\]',
        lambda found: b"\\u%04x" % found[0][0],
        text,
    )
