"""A file says by its first bytes what it is: lines, an array of events, or none of ours."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

from ingestion.sources import formats
from ingestion.sources.files import BLOCK, SourceError, open_source
from ingestion.sources.formats import LONGEST_ITEM, lines_of

EVENTS = [{"event": "signup", "x": 'ü [\\"] {,}', "list": [1, {"a": []}]}, {"event": "chat"}]
LINES = b"".join(json.dumps(event).encode() + b"\n" for event in EVENTS)


def zipped(content: bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("events.ndjson", content)
    return archive.getvalue()


def read(path: Path, content: bytes, offset: int = 0) -> bytes:
    path.write_bytes(content)
    return b"".join(open_source(str(path)).blocks(offset))


PRETTY = json.dumps(EVENTS[0], indent=2).encode()
REFUSED: dict[str, tuple[bytes, str]] = {
    "UTF-16": (LINES.decode().encode("utf-16"), "is UTF-16: convert it to UTF-8"),
    "UTF-16, big endian": (b"\xfe\xff" + LINES.decode().encode("utf-16-be"), "is UTF-16"),
    "UTF-16 without a mark": (LINES.decode().encode("utf-16-le"), "is UTF-16"),
    "zip": (zipped(LINES), "is a zip archive: unpack it"),
    "bzip2": (bz2.compress(LINES), "is packed with bzip2: unpack it"),
    "xz": (lzma.compress(LINES), "is packed with xz"),
    "joined objects": (LINES.replace(b"\n", b""), "has several JSON objects in one line"),
    "objects with commas": (LINES.replace(b"\n", b", "), "has several JSON objects in one line"),
    "pretty-printed objects": (PRETTY + b"\n" + PRETTY, "has JSON objects over several lines"),
    "gzip of UTF-16": (gzip.compress(LINES.decode().encode("utf-16")), "is UTF-16"),
    "gzip of joined objects": (gzip.compress(LINES.replace(b"\n", b"")), "has several"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_file_that_is_none_of_ours_says_so_in_one_sentence(tmp_path: Path, kind: str) -> None:
    content, sentence = REFUSED[kind]
    with pytest.raises(SourceError) as raised:
        read(tmp_path / "events.json", content)
    message = str(raised.value)
    assert message.startswith(f"{tmp_path}/events.json {sentence}")
    assert message.endswith(".")
    assert "\n" not in message


@pytest.mark.parametrize("first", [b"{}{}", b"{},{}", b'{"event": "signup"}null', b"[{}]"])
def test_one_damaged_line_before_others_does_not_refuse_a_file(
    tmp_path: Path, first: bytes
) -> None:
    content = first + b"\n" + LINES
    assert read(tmp_path / "events.ndjson", content) == content


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_a_packed_file_without_its_suffix_is_unpacked(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    assert read(tmp_path / "events", pack(LINES)) == LINES
    assert read(tmp_path / "events.ndjson", pack(LINES), 7) == LINES[7:]


ARRAYS = {
    "compact": json.dumps(EVENTS, separators=(",", ":")).encode(),
    "with a line end": json.dumps(EVENTS).encode() + b"\n",
    "pretty-printed": json.dumps(EVENTS, indent=2).encode(),
    "pretty-printed for Windows": json.dumps(EVENTS, indent=2).replace("\n", "\r\n").encode(),
    "one per line": b"[\n" + LINES.rstrip().replace(b"}\n", b"},\n") + b"\n]\n",
    "with a byte-order mark": b"\xef\xbb\xbf" + json.dumps(EVENTS).encode(),
    "packed": gzip.compress(json.dumps(EVENTS).encode()),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_a_json_array_is_read_as_one_event_per_line(tmp_path: Path, kind: str) -> None:
    lines = read(tmp_path / "events.json", ARRAYS[kind])
    assert [json.loads(line) for line in lines.splitlines()] == EVENTS
    assert read(tmp_path / "events.json", ARRAYS[kind], 9) == lines[9:]


def test_an_array_without_events_has_no_lines(tmp_path: Path) -> None:
    assert read(tmp_path / "events.json", b" [ ]\n") == b""


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
def test_an_array_is_read_alike_in_blocks_of_any_size(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "HEAD_BYTES", 30)
    items = [*EVENTS, 12, None, "text", [1]]
    content = json.dumps(items, indent=1).encode()
    blocks = iter(content[at : at + size] for at in range(0, len(content), size))
    lines = b"".join(lines_of(blocks)).splitlines()
    assert [json.loads(line) for line in lines] == items


DAMAGED = {
    "not closed": (b'[{"a": 1}, {"b": 2}', "damaged after item 1: it is not closed"),
    "no JSON within": (b'[{"a": 1}, {b: 2}]', "damaged after item 1: it is not closed"),
    "something after it": (b'[{"a": 1}\n] {"b": 2}', "has something after its JSON array"),
    "an endless item": (
        b'[{"a": 1}, "' + b"x" * (LONGEST_ITEM + 2 * BLOCK) + b'"]',
        "damaged after item 1: what follows is no JSON",
    ),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_array_says_where_after_the_items_before(tmp_path: Path, kind: str) -> None:
    content, sentence = DAMAGED[kind]
    path = tmp_path / "events.json"
    path.write_bytes(content)
    blocks = open_source(str(path)).blocks(0)
    assert next(blocks) == b'{"a": 1}\n'
    with pytest.raises(SourceError, match=sentence):
        next(blocks)


def test_memory_stays_flat_for_an_array_of_any_size() -> None:
    item = b'{"event": "signup", "x": "' + b"y" * 1_000 + b'"},\n'

    def blocks(count: int) -> Iterator[bytes]:
        yield b"["
        for _ in range(count):
            yield item * (BLOCK // len(item))
        yield b"{}]"

    def peak(count: int) -> int:
        tracemalloc.start()
        assert sum(block.count(b"\n") for block in lines_of(blocks(count))) > 1_000 * count
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(12) < peak(3) * 1.2


@pytest.mark.parametrize(
    "content",
    [
        LINES,
        b"[1, 2]\n" + LINES,
        b'[{"a": 1}]\n' + LINES,
        b"no JSON\n",
        b'{"a": 1} and more\n' + LINES,
        b'{"a":\n' + LINES,
        b"{\n" * 3,
        b"\xff\xfe\n" + LINES,
        b"\n\n" + LINES,
        b"",
    ],
)
def test_all_else_is_read_line_by_line(tmp_path: Path, content: bytes) -> None:
    assert read(tmp_path / "events.ndjson", content) == content
