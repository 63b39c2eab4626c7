"""Files, archives and pipes are read to their end, and an incomplete one is reported."""

from __future__ import annotations

import gzip
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
import zstandard

from ingestion.sources.files import BLOCK, SourceError, open_source

# No block of a compressor, so that it is cut in all kinds of places.
CONTENT = Random(1).randbytes(300_000) + b"x" * (3 * BLOCK)
SKIPPABLE = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"skip"
ARCHIVES: dict[str, Callable[[bytes], bytes]] = {
    "a.GZ": gzip.compress,
    "a.zst": zstandard.compress,
}
each_archive = pytest.mark.parametrize("name", ARCHIVES)


def read(path: Path, content: bytes, offset: int = 0) -> bytes:
    path.write_bytes(content)
    source = open_source(str(path))
    found = b"".join(source.blocks(offset))
    assert source.position() == source.size == len(content)
    return found


@pytest.mark.parametrize("offset", [0, 1, BLOCK, len(CONTENT)])
@pytest.mark.parametrize("name", ["a", *ARCHIVES])
def test_a_file_is_read_to_its_end_from_an_offset_on(
    tmp_path: Path, name: str, offset: int
) -> None:
    packed = ARCHIVES.get(name, bytes)(CONTENT)
    assert read(tmp_path / name, packed, offset) == CONTENT[offset:]


@each_archive
def test_an_archive_of_several_pieces_is_read_to_its_end(tmp_path: Path, name: str) -> None:
    pack = ARCHIVES[name]
    pieces = [pack(CONTENT[:10]), pack(b""), pack(CONTENT[10:BLOCK]), pack(CONTENT[BLOCK:])]
    if name == "a.zst":
        pieces.insert(1, SKIPPABLE)
    assert read(tmp_path / name, b"".join(pieces)) == CONTENT


def damaged(whole: bytes) -> dict[str, bytes]:
    return {
        "nothing": b"",
        "its first bytes": whole[:3],
        "half of it": whole[: len(whole) // 2],
        "all but its last byte": whole[:-1],
        "half of a second piece": whole + whole[:100],
        "garbage behind it": whole + b"garbage",
        "garbage alone": b"garbage",
    }


@each_archive
@pytest.mark.parametrize("damage", damaged(b""))
def test_an_archive_that_is_not_whole_is_damaged(tmp_path: Path, name: str, damage: str) -> None:
    with pytest.raises(SourceError, match=r"is damaged (gzip|zstd) data"):
        read(tmp_path / name, damaged(ARCHIVES[name](CONTENT))[damage])


@each_archive
def test_an_archive_is_unpacked_little_by_little(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    # All of it is in the first block that is read.
    path.write_bytes(ARCHIVES[name](b"x" * (64 * BLOCK)))
    blocks = open_source(str(path)).blocks(0)
    next(blocks)
    tracemalloc.start()
    assert max(map(len, blocks)) <= 16 * BLOCK
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40 * BLOCK


def test_a_pipe_is_read_like_a_file_and_once() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"some lines")
    os.close(writing)
    source = open_source(f"/dev/fd/{reading}")
    assert source.reads_once
    assert source.size is None
    assert b"".join(source.blocks(5)) == b"lines"
    os.close(reading)


def test_a_file_has_one_name_however_its_path_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a").write_bytes(b"")
    monkeypatch.chdir(tmp_path / "sub")
    for spelled in ("../a", f"{tmp_path}/sub/../a", f"{tmp_path}//./a"):
        assert open_source(spelled).name == str(tmp_path / "a")


def test_a_name_that_is_no_utf_8_can_be_written_down(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.gz")
    assert read(path, gzip.compress(CONTENT)) == CONTENT
    assert open_source(str(path)).name == f"{tmp_path}/caf\\xe9.gz"
    with pytest.raises(SourceError, match="is damaged") as raised:
        read(path, b"")
    str(raised.value).encode()
    path.unlink()
    with pytest.raises(SourceError, match=r"[^.]\.$") as raised:
        open_source(str(path))
    str(raised.value).encode()
