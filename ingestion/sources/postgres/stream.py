"""A stream: one ``select`` on the source, whose rows become lines of events or entities.

The select returns the columns of the envelope, or of an entity. In its text ``:since`` and
``:until`` stand for times; it filters by them what it takes its rows from. An event has a column
``key`` besides, the primary key of its row. From stream, event, moment and key its ``event_id``
follows: a row that is read twice is one event, and one that has changed is another at its new
moment.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import LiteralString, cast

import msgspec
from psycopg import sql

from ingestion.contract.validator import NAMESPACE
from ingestion.load.entities import NUMBER_COLUMNS, SHAPES, TIME_COLUMNS, EntityKind
from ingestion.sources.files import Source, SourceError, drop
from ingestion.sources.postgres.declared import DeclaredSource
from ingestion.sources.postgres.session import SourceSession
from warehouse.errors import printable

KEY = "key"
REQUIRED = (KEY, "event", "timestamp", "actor")
OPTIONAL = ("event_id", "context", "properties")
# Of blocks of lines, in bytes.
BLOCK = 1 << 20
# The placeholders, and what may hold their text without being one: casts, strings, quoted names,
# dollar-quoted strings and comments.
_tokens = re.compile(
    r"::|(?P<name>:(?:since|until)\b)|'(?:[^']|'')*'|\"[^\"]*\"|(?P<tag>\$\w*\$).*?(?P=tag)"
    r"|--[^\n]*|/\*.*?\*/",
    re.DOTALL,
)
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
# Control characters, which JSON holds only in escaped form: so COPY quotes and escapes none of it.
_DELIMITER, _QUOTE = "\x02", "\x01"
_TIMES = {"timestamptz"}
_JSON = {"json", "jsonb"}
_NUMBERS = {"int2", "int4", "int8", "numeric", "float4", "float8"}
# JSON has no strings for these.
_NO_STRINGS = _NUMBERS | _JSON | {"bool"}


@dataclass(frozen=True, slots=True)
class Window:
    """The times that a stream is asked for: ``since`` (None: from the start) up to ``until``."""

    since: datetime | None = None
    until: datetime | None = None

    def literal(self, placeholder: str) -> str:
        """Return the time that a placeholder stands for, as SQL."""
        at = self.since if placeholder == ":since" else self.until
        infinite = "-infinity" if placeholder == ":since" else "infinity"
        return f"(timestamptz '{at.isoformat() if at else infinite}')"


EVERYTHING = Window()


class Stream:
    """A stream of a source, with the columns that the source says it has.

    ``name`` is what the ledger knows it by. ``kind`` is the entity that it returns, None for
    events. ``filters`` says whether it uses both placeholders. ``key`` is the column that tells
    rows apart.
    """

    def __init__(self, session: SourceSession, stream: str) -> None:
        """Read the file and ask the source for the columns. Raises SourceError."""
        source = session.source
        self.name = stream_name(source, stream)
        self._session = session
        self._stream = stream
        self._file = source.streams[stream]
        self._text = _text(self._file)
        found = {match["name"] for match in _tokens.finditer(self._text)}
        self.filters = {":since", ":until"} <= found
        self._columns = self._described()
        self.kind = _kind_of(self._file, self._columns)
        self.key = SHAPES[self.kind].__struct_fields__[0] if self.kind else KEY
        _refuse_types(self._file, self.kind, self._columns)

    def source_of(self, window: Window) -> Source:
        """Return the rows of a window as a source to load. Its blocks raise SourceError."""
        return Source(
            self.name,
            lambda offset: drop(self.lines(window), offset),
            reads_once=True,
            resumes=False,
        )

    def lines(self, window: Window) -> Iterator[bytes]:
        """Yield the rows of a window as lines, in blocks. Raises SourceError."""
        rows = self._copied(self._entities(window) if self.kind else self._events(window))
        if self.kind is None:
            identify = self._without_identity if "event_id" in self._columns else self._identified()
            rows = map(identify, rows)
        block: list[bytes] = []
        size = 0
        for row in rows:
            block.append(row)
            size += len(row)
            if size >= BLOCK:
                yield b"".join(block)
                block.clear()
                size = 0
        if block:
            yield b"".join(block)

    def keys(self, window: Window) -> Iterator[str]:
        """Yield the keys of the rows of a window. Raises SourceError."""
        yield from map(msgspec.json.decode, self._copied(self._keys(window, sql.SQL("true"))))

    def existing(self, keys: list[str]) -> set[str]:
        """Return which of these keys a row has, whatever its time. Raises SourceError."""
        is_one = sql.SQL("r.{}::text = any({})").format(sql.Identifier(self.key), sql.Literal(keys))
        return set(map(msgspec.json.decode, self._copied(self._keys(EVERYTHING, is_one))))

    def _select(self, window: Window) -> sql.SQL:
        filled = _tokens.sub(
            lambda match: window.literal(match["name"]) if match["name"] else match[0], self._text
        )
        # The operator's own SQL, in which nothing but two times of ours was inserted.
        return sql.SQL(cast(LiteralString, f"(\n{filled}\n)"))

    def _described(self) -> dict[str, str]:
        """Return the names of the columns' types by column. Raises SourceError."""
        with self._session.of_stream(self._stream) as connection:
            cursor = connection.execute(
                sql.SQL("select * from {} as r limit 0").format(self._select(EVERYTHING))
            )
            columns = cursor.description or []
            types = dict(
                connection.execute(
                    "select oid, typname from pg_type where oid = any(%s)",
                    ([column.type_code for column in columns],),
                ).fetchall()
            )
        return {column.name: types[column.type_code] for column in columns}

    def _copied(self, query: sql.Composable) -> Iterator[bytes]:
        """Yield the rows of a query, each with its line end. Raises SourceError."""
        statement = sql.SQL("copy ({}) to stdout (format csv, delimiter {}, quote {})").format(
            query, sql.Literal(_DELIMITER), sql.Literal(_QUOTE)
        )
        with (
            self._session.of_stream(self._stream) as connection,
            connection.cursor().copy(statement) as copy,
        ):
            for row in copy:
                yield bytes(row)

    def _events(self, window: Window) -> sql.Composed:
        """Return the query for the lines of events, each after what its identity follows from."""
        row = partial(sql.Identifier, "r")
        members = [row(name) for name in ("event_id", "event", "timestamp") if self._has(name)]
        members += [
            sql.SQL("to_jsonb({}) as {}").format(row(name), sql.Identifier(name))
            for name in ("actor", "properties")
            if self._has(name)
        ]
        context = sql.SQL("jsonb_build_object('row', {}::text)").format(row(KEY))
        if self._has("context"):
            context = sql.SQL("coalesce(to_jsonb({}), '{{}}'::jsonb) || {}").format(
                row("context"), context
            )
        return sql.SQL(
            "select {event} || ' ' || {moment}::text || ' ' || {key}::text, row_to_json(e) "
            "from {select} as r cross join lateral (select {members}, {context} as context) as e"
        ).format(
            event=row("event"),
            moment=row("timestamp"),
            key=row(KEY),
            select=self._select(window),
            members=sql.SQL(", ").join(members),
            context=context,
        )

    def _entities(self, window: Window) -> sql.Composed:
        return sql.SQL("select row_to_json(r) from {} as r").format(self._select(window))

    def _keys(self, window: Window, condition: sql.Composable) -> sql.Composed:
        return sql.SQL("select to_json(r.{}::text) from {} as r where {}").format(
            sql.Identifier(self.key), self._select(window), condition
        )

    def _has(self, column: str) -> bool:
        return column in self._columns

    def _identified(self) -> Callable[[bytes], bytes]:
        """Return what puts an event's id into its line: the UUIDv5 of what stands before it.

        Nothing stands there if the key is NULL: then the loader derives an id from the whole event.
        """
        first = NAMESPACE.bytes + f"{self.name} ".encode()
        delimiter, variant = _DELIMITER.encode(), _VARIANT
        sha1 = partial(hashlib.sha1, usedforsecurity=False)

        def identified(row: bytes) -> bytes:
            # JSON has no delimiter; a key that has one, or a quote, stands here in quotes.
            identity, _, line = row.rpartition(delimiter)
            if not identity:
                return line
            d = sha1(first + identity).hexdigest()
            return (
                f'{{"event_id":"{d[:8]}-{d[8:12]}-5{d[13:16]}-{variant[d[16]]}{d[17:20]}'
                f'-{d[20:32]}",'
            ).encode() + line[1:]

        return identified

    @staticmethod
    def _without_identity(row: bytes) -> bytes:
        return row.rpartition(_DELIMITER.encode())[2]


def stream_name(source: DeclaredSource, stream: str) -> str:
    """Return the name by which the ledger knows a stream."""
    return f"{source.name}/{stream}"


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8").strip().removesuffix(";")
    except (OSError, UnicodeDecodeError):
        raise SourceError(f"{printable(file)} can't be read as text.") from None


def _kind_of(file: Path, columns: dict[str, str]) -> EntityKind | None:
    """Return the entity that the columns are of, None for events. Raises SourceError."""
    if "event" in columns or "actor" in columns:
        return None
    for kind, shape in SHAPES.items():
        required = {field.name for field in msgspec.structs.fields(shape) if field.required}
        if required <= columns.keys() <= set(shape.__struct_fields__):
            return kind
    raise SourceError(
        f"{_shown(file)} returns neither the columns of an event ({', '.join(REQUIRED)}; "
        f"optionally {', '.join(OPTIONAL)}) nor those of {', '.join(SHAPES)}, but "
        f"{', '.join(columns)}."
    )


def _refuse_types(file: Path, kind: EntityKind | None, columns: dict[str, str]) -> None:
    """Refuse columns that no valid line can be made of. Raises SourceError."""
    if kind is not None:
        for name, type_ in columns.items():
            if name in TIME_COLUMNS:
                _require(file, name, type_ in _TIMES, type_, "timestamptz")
            elif name in NUMBER_COLUMNS:
                _require(file, name, type_ in _NUMBERS, type_, "a number")
            else:
                _require(file, name, type_ not in _NO_STRINGS, type_, "text")
        return
    if unknown := [name for name in columns if name not in (*REQUIRED, *OPTIONAL)]:
        raise SourceError(
            f"{_shown(file)} returns the column {unknown[0]!r}, which an event does not have: move "
            "it into properties."
        )
    if missing := [name for name in REQUIRED if name not in columns]:
        what = " (the primary key of its row)" if missing[0] == KEY else ""
        raise SourceError(
            f"{_shown(file)} returns no column {missing[0]!r}{what}, which every event needs."
        )
    _require(file, "timestamp", columns["timestamp"] in _TIMES, columns["timestamp"], "timestamptz")
    for name in ("actor", "context", "properties"):
        if name in columns:
            _require(file, name, columns[name] in _JSON, columns[name], "jsonb")


def _require(file: Path, column: str, fits: bool, type_: str, expected: str) -> None:
    if not fits:
        raise SourceError(
            f"{_shown(file)} returns the column {column!r} as {type_}, not as {expected}: has its "
            "type in the source changed? Convert it in the select."
        )


def _shown(file: Path) -> str:
    return f"{file.parent.name}/{file.name}"
