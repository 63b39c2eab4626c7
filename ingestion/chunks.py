"""Cuts a stream of bytes into chunks of whole lines, always at the same places.

Where a chunk ends depends on the bytes since its start alone, so that a load that is taken up
again after a crash cuts what is left as an unbroken one would have.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

CHUNK_BYTES = 8 << 20
CHUNK_LINES = 20_000
# Of a longer line the quarantine keeps this much, so that memory stays flat whatever comes.
LONGEST_KEPT_LINE = 8 << 20
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
    those that are not blank. ``digest`` is SHA-256 of all the chunk's bytes. ``cut_length`` is the
    last line's real length in bytes, where it was too long to be kept whole.
    """

    start: Place
    end: Place
    lines: list[tuple[int, bytes]]
    digest: bytes
    cut_length: int | None = None


def cut(blocks: Iterator[bytes], start: Place) -> Iterator[Chunk]:
    """Yield the chunks of the bytes that follow ``start``."""
    data = b""
    for block in blocks:
        data += block
        while end := _end_of_chunk(data):
            chunk = _chunk(data[:end], start)
            data, start = data[end:], chunk.end
            yield chunk
        if len(data) >= CHUNK_BYTES + LONGEST_KEPT_LINE:
            chunk, data = _chunk_with_cut_line(data, blocks, start)
            start = chunk.end
            yield chunk
    if data:
        yield _chunk(data, start)


def _end_of_chunk(data: bytes) -> int:
    """Return where the chunk at the start of ``data`` ends, 0 if that is not in sight."""
    ends = []
    if data.count(b"\n") >= CHUNK_LINES:
        ends.append(len(data) - len(data.split(b"\n", CHUNK_LINES)[-1]))
    if (line_end := data.find(b"\n", CHUNK_BYTES - 1)) >= 0:
        ends.append(line_end + 1)
    return min(ends, default=0)


def _chunk(data: bytes, start: Place) -> Chunk:
    lines = data.split(b"\n")
    unended = lines.pop()
    lines = [line.removesuffix(b"\r") for line in lines]
    if unended:
        lines.append(unended)
    end = Place(start.chunks + 1, start.bytes + len(data), start.lines + len(lines))
    if start.bytes == 0:
        lines[0] = lines[0].removeprefix(BYTE_ORDER_MARK)
    kept = [
        (number, line)
        for number, line in enumerate(lines, start.lines + 1)
        if line and not line.isspace()
    ]
    return Chunk(start, end, kept, hashlib.sha256(data).digest())


def _chunk_with_cut_line(data: bytes, blocks: Iterator[bytes], start: Place) -> tuple[Chunk, bytes]:
    """Return the chunk whose last line is longer than is kept, and the bytes after it."""
    digest = hashlib.sha256(data)
    length, rest = len(data), b""
    for block in blocks:
        line_end = block.find(b"\n")
        taken = block if line_end < 0 else block[: line_end + 1]
        digest.update(taken)
        length += len(taken)
        if line_end >= 0:
            rest = block[line_end + 1 :]
            break
    line_start = data.rfind(b"\n") + 1
    chunk = _chunk(data[: line_start + LONGEST_KEPT_LINE], start)
    end = Place(chunk.end.chunks, start.bytes + length, chunk.end.lines)
    return (
        Chunk(start, end, chunk.lines, digest.digest(), cut_length=length - line_start), rest
    )  # fmt: skip
