"""Opens what a person names, a file or standard input, as a stream of bytes."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ingestion.errors import WarehouseError

BLOCK = 1 << 20
STANDARD_INPUT = "-"


class SourceError(WarehouseError):
    """The source can't be read (on); the message says what, where and how to mend it."""


@dataclass(frozen=True)
class Source:
    """What is loaded: its name in the ledger, its bytes, and its size on disk where it is known.

    ``blocks(offset)`` yields the bytes (decompressed, mapped) from an offset on. It may be called
    anew, but for standard input. ``position()`` tells how far into the file on disk it has read.
    """

    name: str
    blocks: Callable[[int], Iterator[bytes]]
    size: int | None = None
    position: Callable[[], int] = int

    @property
    def reads_once(self) -> bool:
        """Whether what is read is gone."""
        return self.name == STANDARD_INPUT


def open_source(name: str, mapping: Path | None = None) -> Source:
    """Return the source that a person means by ``name``; nothing is read yet.

    ``.gz`` and ``.zst`` are decompressed. With ``mapping`` the file goes through that DuckDB
    select. Raises SourceError where the file is missing, no file, or not readable.
    """
    if name == STANDARD_INPUT:
        if mapping is not None:
            raise SourceError("A mapping reads a file, not standard input: save it in one first.")
        if sys.stdin is None:
            raise SourceError("Standard input is closed: pipe the events in, or name a file.")
        return Source(name, lambda offset: drop(_blocks(sys.stdin.buffer), offset))
    path = Path(name).absolute()
    try:
        with path.open("rb"):
            size = path.stat().st_size
    except OSError as error:
        raise SourceError(_cannot_read(path, error)) from error
    if mapping is not None:
        name = f"{path} through {mapping.name}"
        return Source(name, lambda offset: drop(_mapped(mapping, path), offset))
    position = [0]
    return Source(
        str(path), lambda offset: _file_blocks(path, offset, position), size, lambda: position[0]
    )


def drop(blocks: Iterator[bytes], count: int) -> Iterator[bytes]:
    """Yield what follows the first ``count`` bytes of ``blocks``."""
    for block in blocks:
        if count >= len(block):
            count -= len(block)
        else:
            yield block[count:]
            count = 0


def _mapped(mapping: Path, path: Path) -> Iterator[bytes]:
    from ingestion.mapping import MappingError, mapped_blocks

    try:
        yield from mapped_blocks(mapping, path)
    except MappingError as error:
        raise SourceError(str(error)) from error


def _file_blocks(path: Path, offset: int, position: list[int]) -> Iterator[bytes]:
    decompressors = {".gz": _gzip_blocks, ".zst": _zstd_blocks}
    decompress = decompressors.get(path.suffix.lower())
    try:
        with path.open("rb") as file:
            if decompress:
                blocks = drop(decompress(file, path), offset)
            else:
                file.seek(offset)
                blocks = _blocks(file)
            for block in blocks:
                position[0] = file.tell()
                yield block
    except OSError as error:
        raise SourceError(_cannot_read(path, error)) from error


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(BLOCK):
        yield block


def _gzip_blocks(file: BinaryIO, path: Path) -> Iterator[bytes]:
    try:
        with gzip.GzipFile(fileobj=file) as unzipped:
            yield from _blocks(unzipped)  # type: ignore[arg-type]
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise SourceError(_damaged(path, "gzip", error)) from error


def _zstd_blocks(file: BinaryIO, path: Path) -> Iterator[bytes]:
    import zstandard

    decompressor = zstandard.ZstdDecompressor()
    frame = None
    try:
        for compressed in _blocks(file):
            while compressed:
                frame = frame or decompressor.decompressobj()
                if block := frame.decompress(compressed):
                    yield block
                compressed = b""
                if frame.eof:
                    compressed, frame = frame.unused_data, None
    except zstandard.ZstdError as error:
        raise SourceError(_damaged(path, "zstd", error)) from error
    if frame is not None:
        raise SourceError(_damaged(path, "zstd", "it ends in the middle of a frame"))


def _damaged(path: Path, kind: str, error: object) -> str:
    return (
        f"{path} is damaged {kind} data ({error}). Committed chunks stay; mend the file and "
        "load it again: it goes on after them."
    )


def _cannot_read(path: Path, error: OSError) -> str:
    return f"{path} can't be read: {error.strerror or error}."
