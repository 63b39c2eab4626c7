"""Opens a file or standard input as a stream of bytes."""

from __future__ import annotations

import errno
import gzip
import os
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import IO

from ingestion.sources.formats import (
    HEAD_BYTES,
    Compression,
    FormatError,
    compression_of,
    is_array,
    lines_of,
)
from warehouse.errors import WarehouseError, printable

BLOCK = 1 << 20
# zstd may decompress 4 bytes to 128 KiB and returns all output of its input at once: this many
# bytes give at most 8 MiB.
ZSTD_BYTES = 256
STANDARD_INPUT = "-"


class SourceError(WarehouseError):
    """The source can't be read; the message says what is wrong, where and how to fix it."""


@dataclass(frozen=True)
class Source:
    """A source to load: its name in the ledger, its bytes, and its size on disk if known.

    ``blocks(offset)`` yields the bytes (decompressed, mapped) from an offset on. It may be called
    again unless the source ``reads_once``, like a pipe. ``position()`` returns how many bytes of
    the file on disk have been read. An interrupted load of a source is resumed where it stopped,
    unless ``resumes`` is False.
    """

    name: str
    blocks: Callable[[int], Iterator[bytes]]
    size: int | None = None
    position: Callable[[], int] = int
    reads_once: bool = False
    resumes: bool = True


# The `opener` of `open`: opens a path with flags and returns a file descriptor.
Opener = Callable[[str, int], int]


def open_source(name: str, mapping: Path | None = None, opener: Opener | None = None) -> Source:
    """Return the source with this name, a path or ``-``; nothing is read yet.

    gzip and zstd are decompressed, and a JSON array is read as lines (``formats``). With
    ``mapping`` the file is transformed by that DuckDB select. ``opener`` opens the file each time,
    and may refuse. Raises SourceError if the file is missing, is not a file or can't be read.
    """
    if name == STANDARD_INPUT:
        if mapping is not None:
            raise SourceError(
                "A mapping reads a file, not standard input: save the input to a file first."
            )
        if sys.stdin is None:
            raise SourceError("Standard input is closed: pipe the events in, or name a file.")
        return Source(
            name, lambda offset: _lines(sys.stdin.buffer, "Standard input", "", offset),
            reads_once=True,
        )  # fmt: skip
    # Not resolve(): a link keeps its own name, which users know.
    path = Path(os.path.abspath(name))
    try:
        status = path.stat()
        is_pipe = not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode))
        if not is_pipe:
            # Opening and closing a pipe would end it for its writer.
            open(path, "rb", opener=opener).close()
    except OSError as error:
        raise SourceError(_cannot_read(path, error)) from error
    if mapping is not None:
        name = f"{printable(path)} through {printable(mapping.name)}"
        return Source(name, lambda offset: drop(_mapped(mapping, path), offset))
    position = [0]
    return Source(
        printable(path),
        lambda offset: _file_blocks(path, offset, position, opener),
        None if is_pipe else status.st_size,
        lambda: position[0],
        is_pipe,
    )


def open_own(path: str, flags: int) -> int:
    """Open a regular file that has no hard links, and follow no link: an Opener.

    A user who may write to a folder could put a link there to a file that the user may not read,
    or a pipe without a writer. Raises OSError for these.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "It is a link") from None
        raise
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
        return descriptor
    os.close(descriptor)
    if stat.S_ISREG(status.st_mode):
        raise OSError(errno.EMLINK, "It is a hard link: the file has other names")
    raise OSError(errno.EINVAL, "It is not a regular file")


def drop(blocks: Iterator[bytes], count: int) -> Iterator[bytes]:
    """Yield what follows the first ``count`` bytes of ``blocks``."""
    for block in blocks:
        if count >= len(block):
            count -= len(block)
        else:
            yield block[count:]
            count = 0


def _mapped(mapping: Path, path: Path) -> Iterator[bytes]:
    from ingestion.sources.mapping import MappingError, mapped_blocks

    try:
        yield from mapped_blocks(mapping, path)
    except MappingError as error:
        raise SourceError(printable(str(error))) from error


def _file_blocks(
    path: Path, offset: int, position: list[int], opener: Opener | None
) -> Iterator[bytes]:
    try:
        with open(path, "rb", opener=opener) as file:
            tell = file.tell if file.seekable() else int
            blocks = _lines(file, printable(path), path.suffix.lower(), offset)
            for block in blocks:
                position[0] = tell()
                yield block
            position[0] = tell()
    except OSError as error:
        raise SourceError(_cannot_read(path, error)) from error


_BY_SUFFIX = {".gz": Compression.GZIP, ".zst": Compression.ZSTD}


def _lines(file: BufferedReader, name: str, suffix: str, offset: int) -> Iterator[bytes]:
    """Yield the lines of a file that is at its start, from an offset on, as bytes."""
    head = file.read(HEAD_BYTES)
    try:
        compression = _BY_SUFFIX.get(suffix) or compression_of(head)
        if compression is None and file.seekable() and not is_array(head):
            file.seek(offset)
            yield from _blocks(file)
            return
        whole = BufferedReader(_Rejoined(head, file), BLOCK)
        decompress = {Compression.GZIP: _gzip_blocks, Compression.ZSTD: _zstd_blocks}
        blocks = decompress[compression](whole, name) if compression else _blocks(whole)
        yield from drop(lines_of(blocks), offset)
    except FormatError as error:
        raise SourceError(f"{name} {error}.") from None


class _Rejoined(RawIOBase):
    """A file from its start, of which the head has been read already."""

    def __init__(self, head: bytes, rest: BufferedReader) -> None:
        self._head = memoryview(head)
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        if not self._head:
            return self._rest.readinto(buffer)
        count = min(len(buffer), len(self._head))
        buffer[:count], self._head = self._head[:count], self._head[count:]
        return count


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    while block := file.read(BLOCK):
        yield block


def _gzip_blocks(file: BufferedReader, name: str) -> Iterator[bytes]:
    if not file.peek(1):
        raise SourceError(_damaged(name, "gzip", "it is empty"))
    try:
        with gzip.GzipFile(fileobj=file) as unzipped:
            yield from _blocks(unzipped)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise SourceError(_damaged(name, "gzip", error)) from error


def _zstd_blocks(file: BufferedReader, name: str) -> Iterator[bytes]:
    # Not zstandard's stream_reader: it accepts a truncated file as complete.
    import zstandard

    if not file.peek(1):
        raise SourceError(_damaged(name, "zstd", "it is empty"))
    decompressor = zstandard.ZstdDecompressor()
    frame = None
    block = bytearray()
    try:
        while compressed := file.read(ZSTD_BYTES):
            while compressed:
                frame = frame or decompressor.decompressobj()
                block += frame.decompress(compressed)
                compressed = b""
                if frame.eof:
                    compressed, frame = frame.unused_data, None
            if len(block) >= BLOCK:
                yield bytes(block)
                block.clear()
    except zstandard.ZstdError as error:
        raise SourceError(_damaged(name, "zstd", error)) from error
    yield bytes(block)
    if frame is not None:
        raise SourceError(_damaged(name, "zstd", "it ends in the middle of a frame"))


def _damaged(name: str, kind: str, error: object) -> str:
    return (
        f"{name} is damaged {kind} data ({error}). Committed chunks stay. Fix the file "
        "and load it again: the load resumes after them."
    )


def _cannot_read(path: Path, error: OSError) -> str:
    return f"{printable(path)} can't be read: {(error.strerror or str(error)).rstrip('.')}."
