"""Cuts a stream of bytes into chunks of whole lines, always at the same offsets.

The end of a chunk depends only on the bytes since its start. So a load that resumes after a crash
gets the same chunks as an uninterrupted one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from ingestion.contract.line import LARGEST_LINE

CHUNK_BYTES = 8 << 20
CHUNK_LINES = 20_000
# In bytes. Longer lines are rejected, and the quarantine keeps only this much of them: enough to
# identify the line, and little enough for flat memory and a fast search for erased subjects.
LONGEST_KEPT_LINE = LARGEST_LINE
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Offset:
    """An offset in a source: the chunks, bytes and lines (blank ones included) before it."""

    chunks: int = 0
    bytes: int = 0
    lines: int = 0


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some whole lines of a source, from ``start`` up to ``end``.

    ``lines`` holds (number in the source from 1, bytes without line end and byte-order mark) of
    every line that is not blank. ``digest`` is the SHA-256 of all bytes of the chunk.
    ``full_lengths`` holds, by line number, the original length in bytes of truncated lines.
    """

    start: Offset
    end: Offset
    lines: list[tuple[int, bytes]]
    digest: bytes
    full_lengths: dict[int, int] = field(default_factory=dict)


def too_large_message(length: int, kept: int) -> str:
    """Return the message for a line of ``length`` bytes, of which ``kept`` are kept."""
    return (
        f"the line has {length:,} bytes; at most {LARGEST_LINE:,} are accepted, and the "
        f"first {kept:,} are kept"
    )


def cut(blocks: Iterator[bytes], start: Offset) -> Iterator[Chunk]:
    """Yield the chunks of the bytes that follow ``start``."""
    waiting: list[bytes] = []
    size = line_ends = 0
    for block in blocks:
        waiting.append(block)
        size += len(block)
        # Replacing is three times as fast as bytes.count.
        line_ends += len(block) - len(block.replace(b"\n", b""))
        if size < CHUNK_BYTES and line_ends < CHUNK_LINES:
            continue
        data = b"".join(waiting)
        while True:
            lines, end = _lines_of_chunk(data)
            if end:
                chunk, data = _chunk(data[:end], lines, start), data[end:]
            elif len(data) >= CHUNK_BYTES + LONGEST_KEPT_LINE:
                rest, after = _rest_of_line(data, blocks)
                chunk, data = _chunk(data, data.split(b"\n"), start, rest), after
            else:
                break
            start = chunk.end
            yield chunk
        waiting, size, line_ends = [data], len(data), data.count(b"\n")
    if data := b"".join(waiting):
        yield _chunk(data, data.split(b"\n"), start)


def _lines_of_chunk(data: bytes) -> tuple[list[bytes], int]:
    """Return the lines of the chunk at the start of ``data``, and the chunk's end.

    The list ends with one more, empty line. The end is 0 if ``data`` does not reach it.
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
class _DiscardedRest:
    """The rest of a chunk's overlong last line, which was read but not kept."""

    length: int
    line_end: int
    is_blank: bool
    digest: bytes


_NO_REST = _DiscardedRest(0, 0, is_blank=True, digest=b"")


def _rest_of_line(data: bytes, blocks: Iterator[bytes]) -> tuple[_DiscardedRest, bytes]:
    """Read the rest of the unfinished line in ``data``; return it and the bytes that follow."""
    digest = hashlib.sha256(data)
    length, is_blank, tail, after = 0, True, data[-1:], b""
    for block in blocks:
        line_end = block.find(b"\n") + 1
        part = block[:line_end] if line_end else block
        digest.update(part)
        length += len(part)
        is_blank = is_blank and (not part or part.isspace())
        tail = (tail + part)[-2:]
        if line_end:
            after = block[line_end:]
            break
    line_end = 2 if tail == b"\r\n" else int(tail.endswith(b"\n"))
    return _DiscardedRest(length, line_end, is_blank, digest.digest()), after


def _chunk(
    data: bytes, lines: list[bytes], start: Offset, rest: _DiscardedRest = _NO_REST
) -> Chunk:
    unfinished = lines.pop()
    if b"\r" in data:
        lines = [line.removesuffix(b"\r") for line in lines]
    if unfinished:
        lines.append(unfinished)
    end = Offset(start.chunks + 1, start.bytes + len(data) + rest.length, start.lines + len(lines))
    if start.bytes == 0:
        lines[0] = lines[0].removeprefix(BYTE_ORDER_MARK)
    kept = [
        (number, line)
        for number, line in enumerate(lines, start.lines + 1)
        if line and not line.isspace()
    ]
    lengths = {number: len(line) for number, line in kept if len(line) > LONGEST_KEPT_LINE}
    if rest.length:
        last, length = lines[-1], len(lines[-1]) + rest.length - rest.line_end
        is_kept = bool(kept) and kept[-1][0] == end.lines
        if is_kept or not rest.is_blank:
            kept[len(kept) - is_kept :] = [(end.lines, last[:length])]
            lengths |= {end.lines: length} if length > LONGEST_KEPT_LINE else {}
    if lengths:
        kept = [(number, line[:LONGEST_KEPT_LINE]) for number, line in kept]
    digest = rest.digest or hashlib.sha256(data).digest()
    return Chunk(start, end, kept, digest, lengths)
