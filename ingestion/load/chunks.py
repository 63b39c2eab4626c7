"""Cuts a stream of bytes into chunks of whole lines, always at the same offsets.

The end of a chunk depends only on the bytes since its start. So a load that resumes after a crash
gets the same chunks as an uninterrupted one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pickle import PickleBuffer

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
class DiscardedRest:
    """The rest of a chunk's overlong last line, which was read but not kept.

    ``digest`` is the SHA-256 of all bytes of the chunk, those of the rest included.
    """

    length: int
    line_end: int
    is_blank: bool
    digest: bytes


@dataclass(frozen=True, slots=True)
class RawChunk:
    """The bytes of a source from ``start`` up to ``end``: whole lines, not yet split.

    ``rest`` is set if the last line is so long that only its start is in ``content``.
    """

    start: Offset
    end: Offset
    content: bytes
    rest: DiscardedRest | None = None

    def __reduce__(self) -> tuple[type[RawChunk], tuple[object, ...]]:
        """Return what another process gets; the content is not copied for it."""
        return RawChunk, (self.start, self.end, PickleBuffer(self.content), self.rest)


@dataclass(frozen=True, slots=True)
class Chunk:
    """The lines of a chunk.

    ``lines`` holds (number in the source from 1, bytes without line end and byte-order mark) of
    every line that is not blank. ``content`` holds them all as well: it is searched faster than
    each of them. ``digest`` is the SHA-256 of all bytes of the chunk. ``full_lengths`` holds, by
    line number, the original length in bytes of truncated lines.
    """

    start: Offset
    end: Offset
    lines: list[tuple[int, bytes]]
    # Not compared: how much of an overlong line is in it depends on the blocks that were read.
    content: bytes = field(compare=False)
    digest: bytes
    full_lengths: dict[int, int] = field(default_factory=dict)


def too_large_message(length: int, kept: int) -> str:
    """Return the message for a line of ``length`` bytes, of which ``kept`` are kept."""
    return (
        f"the line has {length:,} bytes; at most {LARGEST_LINE:,} are accepted, and the "
        f"first {kept:,} are kept"
    )


def cut(blocks: Iterator[bytes], start: Offset) -> Iterator[RawChunk]:
    """Yield the chunks of the bytes that follow ``start``."""
    waiting: list[bytes] = []
    size = line_ends = 0
    for block in blocks:
        waiting.append(block)
        # Replacing is three times as fast as bytes.count.
        ends_in_block = len(block) - len(block.replace(b"\n", b""))
        if size + len(block) < CHUNK_BYTES and line_ends + ends_in_block < CHUNK_LINES:
            size += len(block)
            line_ends += ends_in_block
            continue
        data = b"".join(waiting)
        waiting.clear()
        while True:
            lines, end = _end_of_chunk(data, size, line_ends)
            size = line_ends = 0
            if end:
                chunk, data = _raw_chunk(data[:end], lines, start), data[end:]
            elif len(data) >= CHUNK_BYTES + LONGEST_KEPT_LINE:
                rest, after = _rest_of_line(data, blocks)
                chunk, data = _raw_chunk(data, data.count(b"\n") + 1, start, rest), after
            else:
                break
            start = chunk.end
            yield chunk
        waiting, size, line_ends = [data], len(data), data.count(b"\n")
    if data := b"".join(waiting):
        yield _raw_chunk(data, data.count(b"\n") + (not data.endswith(b"\n")), start)


def _end_of_chunk(data: bytes, searched: int, line_ends: int) -> tuple[int, int]:
    """Return how many lines and bytes the chunk at the start of ``data`` has.

    Both are 0 if ``data`` does not reach its end. Its first ``searched`` bytes are known to have
    so many ``line_ends``, and to be no whole chunk.
    """
    end = data.find(b"\n", CHUNK_BYTES - 1) + 1
    is_filled, end = bool(end), end or len(data)
    # The last one is what follows the last line end.
    *lines, after = data[searched:end].split(b"\n", CHUNK_LINES - line_ends)
    line_ends += len(lines)
    return (line_ends, end - len(after)) if is_filled or line_ends == CHUNK_LINES else (0, 0)


def _rest_of_line(data: bytes, blocks: Iterator[bytes]) -> tuple[DiscardedRest, bytes]:
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
    return DiscardedRest(length, line_end, is_blank, digest.digest()), after


def _raw_chunk(
    content: bytes, lines: int, start: Offset, rest: DiscardedRest | None = None
) -> RawChunk:
    size = len(content) + (rest.length if rest else 0)
    end = Offset(start.chunks + 1, start.bytes + size, start.lines + lines)
    return RawChunk(start, end, content, rest)


def split(raw: RawChunk) -> Chunk:
    """Split a chunk into its lines."""
    *lines, unfinished = raw.content.split(b"\n")
    if b"\r" in raw.content:
        lines = [line.removesuffix(b"\r") for line in lines]
    if unfinished:
        lines.append(unfinished)
    if raw.start.bytes == 0:
        lines[0] = lines[0].removeprefix(BYTE_ORDER_MARK)
    kept = [
        (number, line)
        for number, line in enumerate(lines, raw.start.lines + 1)
        if line and not line.isspace()
    ]
    lengths = {}
    if max(map(len, lines), default=0) > LONGEST_KEPT_LINE:
        lengths = {number: len(line) for number, line in kept if len(line) > LONGEST_KEPT_LINE}
    rest, number = raw.rest, raw.end.lines
    if rest:
        last, length = lines[-1], len(lines[-1]) + rest.length - rest.line_end
        is_kept = bool(kept) and kept[-1][0] == number
        if is_kept or not rest.is_blank:
            kept[len(kept) - is_kept :] = [(number, last[:length])]
            lengths |= {number: length} if length > LONGEST_KEPT_LINE else {}
    if lengths:
        kept = [(number, line[:LONGEST_KEPT_LINE]) for number, line in kept]
    digest = rest.digest if rest else hashlib.sha256(raw.content).digest()
    return Chunk(raw.start, raw.end, kept, raw.content, digest, lengths)
