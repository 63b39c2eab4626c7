"""Recognizes by its first bytes what a file is, before any of its lines is validated.

A JSON array is turned into lines. What can't be lines of JSON is refused with a sentence that says
what it is and how to convert it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from itertools import chain
from json.decoder import WHITESPACE, JSONDecoder

from warehouse.errors import WarehouseError

# In bytes: enough to recognize two events that are joined or written over several lines.
HEAD_BYTES = 64 << 10
# In bytes, of an item of an array. Far longer ones than the longest line are no events, and memory
# stays flat.
LONGEST_ITEM = 8 << 20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class FormatError(WarehouseError):
    """The file is no file of event lines; the message, without its name, says what it is."""


class Compression(StrEnum):
    """How a file is compressed."""

    GZIP = "gzip"
    ZSTD = "zstd"


_COMPRESSIONS = {b"\x1f\x8b\x08": Compression.GZIP, b"\x28\xb5\x2f\xfd": Compression.ZSTD}
_UNPACK = "unpack it and load the files in it"
_REPACK = "unpack it, or pack it with gzip or zstd"
_REFUSED = {
    rb"PK\x03\x04": f"is a zip archive: {_UNPACK}",
    rb"PK\x05\x06": "is an empty zip archive",
    rb"BZh[1-9]1AY&SY": f"is packed with bzip2: {_REPACK}",
    rb"\xfd7zXZ\x00": f"is packed with xz: {_REPACK}",
    rb"7z\xbc\xaf\x27\x1c": f"is a 7z archive: {_UNPACK}",
    rb"PAR1": "is a Parquet file: load it through a mapping (--map) that reads it",
    rb"SQLite format 3\x00": "is an SQLite database: export its events as lines of JSON",
}
_is_utf16 = re.compile(
    # With a byte-order mark, or without one before a bracket.
    rb"\xff\xfe[^\x00]\x00|\xfe\xff\x00[^\x00]|[\[{]\x00[^\x00]\x00|\x00[\[{]\x00[^\x00]",
    re.DOTALL,
).match
_is_empty_array = re.compile(rb"\s*\[\s*\]\s*").fullmatch
_begins_array = re.compile(rb"\s*\[\s*\{").match
_raw_decode = JSONDecoder().raw_decode


def compression_of(head: bytes) -> Compression | None:
    """Return how a file that begins with ``head`` is compressed, None if it is not.

    Raises FormatError if it is packed in a way that is not read.
    """
    for magic, sentence in _REFUSED.items():
        if re.match(magic, head):
            raise FormatError(sentence)
    return next((kind for magic, kind in _COMPRESSIONS.items() if head.startswith(magic)), None)


def lines_of(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the bytes of a file as lines: the same, or the items of a JSON array, one per line.

    Raises FormatError at the start if the file holds something else than lines, or where an array
    is damaged.
    """
    head = b""
    for block in blocks:
        head += block
        if len(head) >= HEAD_BYTES:
            break
    blocks = chain([head] if head else [], blocks)
    yield from _items(blocks) if is_array(head) else blocks


def is_array(head: bytes) -> bool:
    """Return whether a file that begins with ``head`` is a JSON array of objects.

    Raises FormatError if it is UTF-16, or if its objects are not one per line.
    """
    text = head.removeprefix(_BYTE_ORDER_MARK)
    if _is_utf16(text):
        raise FormatError(
            "is UTF-16: convert it to UTF-8, for example with `iconv -f UTF-16 -t UTF-8`"
        )
    first, _, rest = text.lstrip().partition(b"\n")
    if _is_empty_array(text):
        return True
    if _begins_array(text):
        # A line that is an array, among others, is a rejected line.
        return not (rest.strip() and _values(first) == 1)
    if first.startswith(b"{"):
        values = _values(first)
        # Where others are lines, this one is damaged, and will be a rejected line.
        if values > 1 and not any(_values(line) == 1 for line in rest.split(b"\n")):
            raise FormatError(
                "has several JSON objects in one line: write one per line, for example with "
                "`jq -c .`"
            )
        if values == 0 and _is_split_object(text):
            raise FormatError(
                "has JSON objects over several lines: write one per line, for example with "
                "`jq -c .`"
            )
    return False


def _values(line: bytes) -> int:
    """Return how many JSON values, joined or with commas between them, a line is; 0 if it is none.

    More than two count as two.
    """
    text = line.decode("latin-1")
    found, at = 0, 0
    while found < 2:
        at = _after_space(text, at)
        if found and text[at : at + 1] == ",":
            at = _after_space(text, at + 1)
        if at == len(text):
            return found
        try:
            _, at = _raw_decode(text, at)
        except (ValueError, RecursionError):
            return 0
        found += 1
    return found


def _is_split_object(text: bytes) -> bool:
    """Return whether an object at the start goes on over several lines."""
    stripped = text.lstrip().decode("latin-1")
    try:
        _, end = _raw_decode(stripped)
    except (ValueError, RecursionError):
        return False
    return "\n" in stripped[:end]


def _items(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield blocks of lines, one for each item of an array, in so many bytes as came."""
    # Latin-1 has a character for each byte, and JSON's own characters are ASCII: so positions are
    # those of bytes, and what is not UTF-8 is the validator's to reject.
    text = next(blocks).removeprefix(_BYTE_ORDER_MARK).decode("latin-1")
    at = _after_space(text, 0) + 1
    number, is_open = 0, True
    while is_open:
        lines: list[bytes] = []
        while (found := _next_item(text, at)) is not None:
            item, at, is_open = found
            if item is not None:
                number += 1
                lines.append(item)
            if not is_open:
                break
        if lines:
            yield b"".join(lines)
        if is_open:
            text, at = text[at:], 0
            block = next(blocks, None)
            if block is None or len(text) > LONGEST_ITEM:
                raise FormatError(
                    f"is a JSON array that is damaged after item {number:,}: "
                    f"{'it is not closed' if block is None else 'what follows is no JSON'}"
                )
            text += block.decode("latin-1")
    if text[at:].strip() or any(block.strip() for block in blocks):
        raise FormatError(f"has something after its JSON array of {number:,} items")


def _next_item(text: str, at: int) -> tuple[bytes | None, int, bool] | None:
    """Return the item at ``at`` as a line, where the next one starts, and whether there may be one.

    None if the text ends before the item does, or is damaged.
    """
    start = _after_space(text, at)
    if text[start : start + 1] == "]":
        return None, start + 1, False
    try:
        _, end = _raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    after = _after_space(text, end)
    if text[after : after + 1] not in {",", "]"}:
        return None
    # In JSON, line ends are only between values.
    line = text[start:end].replace("\n", " ").replace("\r", " ").encode("latin-1") + b"\n"
    return line, after + 1, text[after] == ","


def _after_space(text: str, at: int) -> int:
    match = WHITESPACE.match(text, at)
    return match.end() if match else at
