"""However a stream comes, it is cut into the same chunks, and nothing of it is left out."""

from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import Iterable, Iterator
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ingestion.load import chunks
from ingestion.load.chunks import BYTE_ORDER_MARK, Chunk, Offset
from tests.conftest import examples

CHUNK_BYTES, CHUNK_LINES = 24, 4


# Of 10 bytes several lines of a chunk may be cut, of 40 the last alone.
@pytest.fixture(autouse=True, params=[10, 40])
def _small_chunks(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setattr(chunks, "CHUNK_BYTES", CHUNK_BYTES)
    monkeypatch.setattr(chunks, "CHUNK_LINES", CHUNK_LINES)
    monkeypatch.setattr(chunks, "LONGEST_KEPT_LINE", request.param)


@st.composite
def contents(draw: st.DrawFn) -> bytes:
    """Lines of every length that matters: blank, short, a chunk long, longer than is kept."""
    lengths = st.sampled_from((0, 1, 2, 5, 5, 23, 24, 25, 39, 40, 41, 64, 65, 100, 200))
    fills = st.sampled_from((b"a", b"a", b" ", b"\r", b"\t"))
    content = draw(st.sampled_from((b"", b"", BYTE_ORDER_MARK)))
    for length in draw(st.lists(lengths, max_size=12)):
        line = draw(fills) * length
        if length and draw(st.booleans()):
            # White space up to the last byte, or only after the first.
            line = draw(st.sampled_from((line[:-1] + b"z", b"z" + line[1:])))
        content += line + draw(st.sampled_from((b"\n", b"\n", b"\r\n")))
    return content.removesuffix(b"\n") if draw(st.integers(0, 3)) == 0 else content


@st.composite
def split(draw: st.DrawFn, content: bytes) -> list[bytes]:
    """The bytes in blocks of any size, empty ones included."""
    ends = sorted(draw(st.lists(st.integers(0, len(content)), max_size=8)))
    return [content[start:end] for start, end in pairwise([0, *ends, len(content)])]


def cut(blocks: Iterable[bytes], start: Offset | None = None) -> list[Chunk]:
    """The chunks of a stream with their lines."""
    return [chunks.split(raw) for raw in chunks.cut(iter(blocks), start or Offset())]


def cut_whole(content: bytes) -> list[Chunk]:
    return cut([content])


def expected_lines(content: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, with their numbers, by the contract."""
    pieces = content.removeprefix(BYTE_ORDER_MARK).split(b"\n")
    for number, piece in enumerate(pieces, 1):
        line = piece.removesuffix(b"\r") if number < len(pieces) else piece
        if line.strip():
            yield number, line


@examples(250)
@given(contents().flatmap(lambda content: st.tuples(st.just(content), split(content))))
def test_any_split_of_a_stream_into_blocks_gives_the_same_chunks(
    case: tuple[bytes, list[bytes]],
) -> None:
    content, blocks = case
    assert cut(blocks) == cut_whole(content)
    assert cut(bytes([byte]) for byte in content) == cut_whole(content)


@examples(200)
@given(contents())
def test_chunks_cover_every_byte_and_every_line(content: bytes) -> None:
    found = cut_whole(content)
    offsets = [Offset(), *(chunk.end for chunk in found)]
    assert [chunk.start for chunk in found] == offsets[:-1]
    assert [place.chunks for place in offsets] == list(range(len(offsets)))
    assert offsets[-1].bytes == len(content)
    for chunk in found:
        of_chunk = content[chunk.start.bytes : chunk.end.bytes]
        assert chunk.digest == hashlib.sha256(of_chunk).digest()
        has_unended_line = not of_chunk.endswith(b"\n")
        assert chunk.end.lines - chunk.start.lines == of_chunk.count(b"\n") + has_unended_line
    lines = [line for chunk in found for line in chunk.lines]
    assert lines == [(n, line[: chunks.LONGEST_KEPT_LINE]) for n, line in expected_lines(content)]


@examples(200)
@given(contents())
def test_only_lines_that_are_cut_tell_their_real_length(content: bytes) -> None:
    real_lengths = {number: len(line) for number, line in expected_lines(content)}
    reported = {
        n: length for chunk in cut_whole(content) for n, length in chunk.full_lengths.items()
    }
    longest = chunks.LONGEST_KEPT_LINE
    assert reported == {n: length for n, length in real_lengths.items() if length > longest}


@examples(200)
@given(contents())
def test_no_chunk_is_larger_than_its_last_line_makes_it(content: bytes) -> None:
    for chunk in cut_whole(content):
        of_chunk = content[chunk.start.bytes : chunk.end.bytes]
        assert of_chunk.count(b"\n") <= CHUNK_LINES
        last_line = of_chunk[of_chunk.rstrip(b"\n").rfind(b"\n") + 1 :]
        assert len(of_chunk) - len(last_line) < CHUNK_BYTES


@examples(200)
@given(contents(), st.data())
def test_resumed_after_any_chunk_the_rest_is_cut_as_before(
    content: bytes, data: st.DataObject
) -> None:
    whole = cut_whole(content)
    assume(whole)
    done = data.draw(st.integers(1, len(whole)))
    place = whole[done - 1].end
    blocks = data.draw(split(content[place.bytes :]))
    assert cut(blocks, place) == whole[done:]


def test_a_line_longer_than_memory_is_cut_with_little_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    block = 1 << 16
    monkeypatch.setattr(chunks, "CHUNK_BYTES", block)
    monkeypatch.setattr(chunks, "LONGEST_KEPT_LINE", block)

    def blocks() -> Iterator[bytes]:
        yield b"first\n"
        for _ in range(1000):
            yield b"x" * block
        yield b"\nlast\n"

    tracemalloc.start()
    found = cut(blocks())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 * block
    assert [chunk.full_lengths for chunk in found] == [{2: 1000 * block}, {}]
    assert [number for chunk in found for number, _ in chunk.lines] == [1, 2, 3]
    assert found[-1].end == Offset(2, 1000 * block + 12, 3)
