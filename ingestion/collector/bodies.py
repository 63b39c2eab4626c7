"""Reads a request's body into events: its type, its compression and its shape."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from functools import lru_cache

import msgspec
import zstandard

from ingestion.collector.answers import RefusedError
from ingestion.load.chunks import BYTE_ORDER_MARK

# In bytes, before and after decompression.
LARGEST_BODY = 1 << 20
MOST_EVENTS = 1_000
# zstd may return 128 KiB for 4 bytes, and returns all output of its input at once.
ZSTD_BYTES = 64
# The memory of a decompressor, as RFC 8878 recommends: a frame may ask for 128 MiB.
LARGEST_WINDOW = 8 << 20
_UTF8 = frozenset({"utf-8", "utf8", "us-ascii"})
JSON, NDJSON, TEXT = "application/json", "application/x-ndjson", "text/plain"
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_text = msgspec.json.Decoder(str).decode
_SHAPES = (
    'Send one event (an object), an array of events, or {"events": [...]}; with the type '
    "application/x-ndjson, an event a line."
)


@dataclass(frozen=True, slots=True)
class Body:
    """The events of a body, each as it was sent, and the key if the body holds one."""

    events: list[bytes]
    key: str | None = field(default=None, repr=False)


@lru_cache(maxsize=256)
def content_type(header: str | None, taken: tuple[str, ...]) -> str:
    """Return the type of a body. Raises RefusedError (415) if it is not one of those taken."""
    kind, *parameters = (part.strip().lower() for part in (header or "").split(";"))
    charsets = [one.partition("=")[2].strip('"') for one in parameters if one[:8] == "charset="]
    if kind not in taken or not _UTF8.issuperset(charsets):
        raise RefusedError(
            415,
            "unsupported_media_type",
            f"Send the body with Content-Type {' or '.join(taken)}, in UTF-8; "
            f"got {kind or 'none'}.",
        )
    return kind


def encoding_of(header: str | None) -> str:
    """Return how a body is compressed. Raises RefusedError (415) for unknown ways."""
    if header is None:
        return "identity"
    encoding = header.strip().lower()
    if encoding not in ("identity", "gzip", "zstd"):
        raise RefusedError(
            415,
            "unsupported_encoding",
            "Send the body with Content-Encoding gzip or zstd, or without compression.",
        )
    return encoding


def decompress(body: bytes, encoding: str) -> bytes:
    """Return a body as it was before compression.

    Raises RefusedError: 413 if it is over LARGEST_BODY, as soon as it is, and 400 if it is damaged.
    """
    if encoding == "identity":
        return body
    try:
        content = _gunzip(body) if encoding == "gzip" else _unzstd(body)
    except (zlib.error, zstandard.ZstdError, EOFError) as error:
        if "too much memory" in str(error):
            raise too_large() from None
        raise RefusedError(
            400, "invalid_encoding", f"The body is no complete {encoding} data: send it whole."
        ) from None
    if len(content) > LARGEST_BODY:
        raise too_large()
    return content


def too_large() -> RefusedError:
    """Return the refusal of a body over LARGEST_BODY."""
    return RefusedError(
        413,
        "too_large",
        f"The body is over {LARGEST_BODY:,} bytes, as sent or decompressed: split it.",
    )


def _gunzip(body: bytes) -> bytes:
    content = b""
    while body:
        member = zlib.decompressobj(wbits=31)
        content += member.decompress(body, LARGEST_BODY + 1 - len(content))
        if len(content) > LARGEST_BODY:
            return content
        if not member.eof:
            raise EOFError
        body = member.unused_data
    return content


def _unzstd(body: bytes) -> bytes:
    # Not stream_reader: it accepts a truncated frame as complete.
    decompressor = zstandard.ZstdDecompressor(max_window_size=LARGEST_WINDOW)
    frame = None
    content = bytearray()
    for start in range(0, len(body), ZSTD_BYTES):
        compressed = body[start : start + ZSTD_BYTES]
        while compressed:
            frame = frame or decompressor.decompressobj()
            content += frame.decompress(compressed)
            compressed = b""
            if frame.eof:
                compressed, frame = frame.unused_data, None
            if len(content) > LARGEST_BODY:
                return bytes(content)
    if frame is not None:
        raise EOFError
    return bytes(content)


def read_events(content: bytes, kind: str) -> Body:
    """Return the events of a body. Raises RefusedError: 400 and, for too many, 413."""
    content = content.removeprefix(BYTE_ORDER_MARK)
    if kind == NDJSON:
        # A line that is no JSON is a rejected event, as in a file.
        lines = (line.removesuffix(b"\r") for line in content.split(b"\n"))
        return _checked(Body([line for line in lines if line and not line.isspace()]))
    return _checked(_read_json(content))


def _read_json(content: bytes) -> Body:
    start = content.lstrip(b" \t\r\n")[:1]
    try:
        if start == b"[":
            return Body([bytes(event) for event in _list(content)])
        if start != b"{":
            raise _unreadable("The body is no JSON object or array.")
        members = _members(content)
        if "events" not in members:
            return Body([content.strip(b" \t\r\n")])
        key = members.get("key")
        if more := sorted(members.keys() - {"events", "key"}):
            raise _unreadable(f"Beside `events` the body holds `{more[0][:60]}`.")
        return Body(
            [bytes(event) for event in _list(members["events"])],
            None if key is None else _text(key),
        )
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise _unreadable(f"The body is no JSON of a known shape ({error}).") from None


def _unreadable(what: str) -> RefusedError:
    printable = what.encode("utf-8", "backslashreplace").decode()
    return RefusedError(400, "invalid_body", f"{printable} {_SHAPES}")


def _checked(body: Body) -> Body:
    if not body.events:
        raise _unreadable("The body holds no event.")
    if len(body.events) > MOST_EVENTS:
        raise RefusedError(
            413,
            "too_many_events",
            f"The body holds {len(body.events):,} events; at most {MOST_EVENTS:,} are taken at "
            "once: split it.",
        )
    return body
