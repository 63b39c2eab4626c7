"""Cuts a stream of bytes into chunks of whole lines, always at the same places.

Where a chunk ends depends on the bytes since its start alone, so that a load that is taken up
again after a crash cuts what is left as an unbroken one would have.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from ingestion.contract.line import LARGEST_LINE

CHUNK_BYTES = 8 << 20
CHUNK_LINES = 20_000
# Longer lines are refused. Of one the quarantine keeps this much: enough to know it by, and little
# enough that memory stays flat and that a search for who is erased takes no time.
LONGEST_KEPT_LINE = LARGEST_LINE
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a source a chunk starts: chunks, bytes and lines (blank ones too) before it."""

    chunks: int = 0
    bytes: int = 0
    lines: int = 0


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some whole lines of a source, from ``start`` up to ``end``.

    ``lines`` holds (number in the source from 1, bytes without line end and byte-order mark) of
    those that are not blank. ``digest`` is SHA-256 of all the chunk's bytes. ``cut_lengths`` holds
    by number the real length in bytes of the lines that were too long to be kept whole.
    """

    start: Place
    end: Place
    lines: list[tuple[int, bytes]]
    digest: bytes
    cut_lengths: dict[int, int] = field(default_factory=dict)


def cut_detail(length: int, kept: int) -> str:
    """Say why a line of so many bytes is refused of which so many are kept."""
    return (
        f"the line has {length:,} bytes; at most {LARGEST_LINE:,} are taken, and the first "
        f"{kept:,} are kept"
    )


def cut(blocks: Iterator[bytes], start: Place) -> Iterator[Chunk]:
    """Yield the chunks of the bytes that follow ``start``."""
    waiting: list[bytes] = []
    size = line_ends = 0
    for block in blocks:
        waiting.append(block)
        size += len(block)
        # Taking them out is three times as fast as bytes.count.
        line_ends += len(block) - len(block.replace(b"\n", b""))
        if size < CHUNK_BYTES and line_ends < CHUNK_LINES:
            continue
        data = b"".join(waiting)
        while True:
            lines, end = _lines_of_chunk(data)
            if end:
                chunk, data = _chunk(data[:end], lines, start), data[end:]
            elif len(data) >= CHUNK_BYTES + LONGEST_KEPT_LINE:
                beyond, after = _rest_of_line(data, blocks)
                chunk, data = _chunk(data, data.split(b"\n"), start, beyond), after
            else:
                break
            start = chunk.end
            yield chunk
        waiting, size, line_ends = [data], len(data), data.count(b"\n")
    if data := b"".join(waiting):
        yield _chunk(data, data.split(b"\n"), start)


def _lines_of_chunk(data: bytes) -> tuple[list[bytes], int]:
    """Return the lines of the chunk at the start of ``data``, and where it ends.

    After the last line's end stands one more, empty. 0 if the chunk's end is not in sight.
    """
    filled = data.find(b"\n", CHUNK_BYTES - 1) + 1
    lines = (data[:filled] if filled else data).split(b"\n", CHUNK_LINES)
    end = (filled or len(data)) - len(lines[-1])
    if len(lines) > CHUNK_LINES:
        lines[-1] = b""
    elif not filled:
        end = 0
    return lines, end


@dataclass(frozen=True, slots=True)
class _Beyond:
    """What was read of a chunk's last line beyond the bytes that are at hand, and not kept."""

    length: int
    line_end: int
    is_blank: bool
    digest: bytes


_NOTHING = _Beyond(0, 0, is_blank=True, digest=b"")


def _rest_of_line(data: bytes, blocks: Iterator[bytes]) -> tuple[_Beyond, bytes]:
    """Read to the end of the line that ``data`` breaks off in; return it, and what follows."""
    digest = hashlib.sha256(data)
    length, is_blank, tail, after = 0, True, data[-1:], b""
    for block in blocks:
        line_end = block.find(b"\n") + 1
        taken = block[:line_end] if line_end else block
        digest.update(taken)
        length += len(taken)
        is_blank = is_blank and (not taken or taken.isspace())
        tail = (tail + taken)[-2:]
        if line_end:
            after = block[line_end:]
            break
    line_end = 2 if tail == b"\r\n" else int(tail.endswith(b"\n"))
    return _Beyond(length, line_end, is_blank, digest.digest()), after


def _chunk(data: bytes, lines: list[bytes], start: Place, beyond: _Beyond = _NOTHING) -> Chunk:
    unended = lines.pop()
    if b"\r" in data:
        lines = [line.removesuffix(b"\r") for line in lines]
    if unended:
        lines.append(unended)
    end = Place(start.chunks + 1, start.bytes + len(data) + beyond.length, start.lines + len(lines))
    if start.bytes == 0:
        lines[0] = lines[0].removeprefix(BYTE_ORDER_MARK)
    kept = [
        (number, line)
        for number, line in enumerate(lines, start.lines + 1)
        if line and not line.isspace()
    ]
    lengths = {number: len(line) for number, line in kept if len(line) > LONGEST_KEPT_LINE}
    if beyond.length:
        last, length = lines[-1], len(lines[-1]) + beyond.length - beyond.line_end
        is_kept = bool(kept) and kept[-1][0] == end.lines
        if is_kept or not beyond.is_blank:
            kept[len(kept) - is_kept :] = [(end.lines, last[:length])]
            lengths |= {end.lines: length} if length > LONGEST_KEPT_LINE else {}
    if lengths:
        kept = [(number, line[:LONGEST_KEPT_LINE]) for number, line in kept]
    digest = beyond.digest or hashlib.sha256(data).digest()
    return Chunk(start, end, kept, digest, lengths)
