"""Converts foreign formats to envelopes by one DuckDB ``select`` over the file.

A mapping is an SQL file with a single ``select`` that reads ``getvariable('source')`` and returns
one row per event, with columns from ``ENVELOPE_COLUMNS``. A ``timestamptz`` is written as RFC 3339;
a time without zone is refused. Its rows are validated like any other
lines.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from warehouse.errors import WarehouseError

ENVELOPE_COLUMNS = ("event_id", "event", "timestamp", "actor", "context", "properties")
REQUIRED_COLUMNS = ("event", "timestamp", "actor")
# A time with zone is an instant. Others are written as text by the mapping.
TIMESTAMPTZ = "TIMESTAMP WITH TIME ZONE"
RFC_3339 = """replace(cast("timestamp" at time zone 'UTC' as varchar), ' ', 'T') || 'Z'"""
SHIPPED = Path(__file__).parent / "mappings"

# Enough for DuckDB's read buffers; larger sorts and joins spill to a private directory.
MEMORY_LIMIT = "512MB"
# Few enough for flat memory with long rows, and enough that fetching takes little time.
ROWS_PER_FETCH = 256


class MappingError(WarehouseError):
    """A mapping or its file can't be used; the message says what is wrong and how to fix it."""


def find_mapping(name: str) -> Path:
    """Return the mapping for ``--map name``: a file, or else a shipped mapping.

    ``sources/aider.sql``, ``aider.sql`` and ``aider`` all name the shipped one. Raises
    MappingError, which lists the shipped ones, if there is neither.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = {mapping.stem: mapping for mapping in sorted(SHIPPED.glob("*.sql"))}
    named = path.parent in (Path(), Path("sources")) and path.suffix in ("", ".sql")
    if named and path.stem in shipped:
        return shipped[path.stem]
    raise MappingError(
        f"There is no mapping {name!r}: give the path of an SQL file, "
        f"or one of the shipped mappings: {', '.join(shipped)}."
    )


def mapped_blocks(mapping: Path, source: Path, *, block_bytes: int = 1 << 20) -> Iterator[bytes]:
    """Yield the rows of ``mapping`` over ``source`` as NDJSON, in blocks of whole lines.

    A block ends with the line with which it reaches ``block_bytes``. Every run gives the same bytes
    (unless the mapping uses something that changes, such as the time), so that a load can resume at
    an offset. Memory does not grow with the file.

    Raises MappingError at the first block or, for an error in the file, after the blocks before it.
    """
    source = _readable(source)
    try:
        with TemporaryDirectory() as spill, _sandbox(source, spill) as connection:
            select = _select(connection, mapping)
            types = _column_types(connection, select)
            _check_columns(mapping, types)
            columns = "*"
            if types["timestamp"] == TIMESTAMPTZ:
                columns = f'* replace ({RFC_3339} as "timestamp")'
            result = connection.execute(
                f"select to_json(envelope) from (select {columns} from {select}) as envelope"  # noqa: S608 (it is the SQL)
            )
            block = bytearray()
            while fetched := result.fetchmany(ROWS_PER_FETCH):
                for (line,) in fetched:
                    block += line.encode()
                    block += b"\n"
                    if len(block) >= block_bytes:
                        yield bytes(block)
                        block.clear()
            if block:
                yield bytes(block)
    except duckdb.PermissionException as error:
        raise MappingError(
            f"The mapping {mapping} tried to read another file: it may read getvariable('source') "
            f"({source}) and nothing else. {_first_paragraph(error)}"
        ) from error
    except duckdb.Error as error:
        raise MappingError(
            f"The mapping {mapping} failed on {source}: fix the mapping or the file and load "
            f"again. {_first_paragraph(error)}"
        ) from error


def _readable(source: Path) -> Path:
    # Not resolve(): a mapping may use the file's name, and a link keeps its own.
    path = Path(os.path.abspath(source))
    if not path.is_file():
        raise MappingError(
            f"{source} is not a file: a mapping reads a file, not a directory or standard input."
        )
    try:
        path.open("rb").close()
    except OSError as error:
        raise MappingError(
            f"{source} cannot be read ({error.strerror}): check its permissions."
        ) from error
    return path


def _sandbox(source: Path, spill: str) -> duckdb.DuckDBPyConnection:
    """Return an in-memory DuckDB that can access only ``source`` and the directory ``spill``.

    It runs one thread, so that scans, aggregates, joins and ties in sorts have a fixed order.
    """
    connection = duckdb.connect(
        ":memory:",
        config={
            "threads": 1,
            "preserve_insertion_order": True,
            "memory_limit": MEMORY_LIMIT,
            "temp_directory": spill,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_persistent_secrets": False,
            "python_enable_replacements": False,
        },
    )
    # DuckDB reads a file name as a glob pattern; brackets escape its special characters.
    pattern = re.sub(r"[*?\[]", r"[\g<0>]", str(source))
    connection.execute("set variable source = ?", [pattern])
    connection.execute("set allowed_paths = ?", [[str(source), pattern]])
    connection.execute("set TimeZone = 'UTC'")
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")
    return connection


def _select(connection: duckdb.DuckDBPyConnection, mapping: Path) -> str:
    """Return the mapping's statement as a subquery.

    A mapping must only run as a subquery: allowed_paths permits writing as well as reading, and a
    top-level ``select`` can contain ``with x as (copy … to …)``.
    """
    try:
        sql = mapping.read_text(encoding="utf-8")
    except OSError as error:
        raise MappingError(
            f"The mapping {mapping} cannot be read ({error.strerror}): check the path."
        ) from error
    except UnicodeDecodeError as error:
        raise MappingError(f"The mapping {mapping} is not UTF-8: save it as UTF-8.") from error
    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise MappingError(
            f"The mapping {mapping} is not valid DuckDB SQL. {_first_paragraph(error)}"
        ) from error
    if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
        raise MappingError(
            f"The mapping {mapping} is not a select: it must hold one select statement, no other."
        )
    return f"(\n{_without_semicolon(sql)}\n)"


def _without_semicolon(statement: str) -> str:
    text = statement.encode()
    for offset, kind in duckdb.tokenize(statement):
        if kind == duckdb.token_type.operator and text[offset : offset + 1] == b";":
            return text[:offset].decode()
    return statement


def _column_types(connection: duckdb.DuckDBPyConnection, select: str) -> dict[str, str]:
    described = connection.execute(
        f"describe select * from {select} as envelope"  # noqa: S608 (it is the SQL)
    ).fetchall()
    return {name: type_ for name, type_, *_ in described}


def _check_columns(mapping: Path, types: dict[str, str]) -> None:
    if unknown := [column for column in types if column not in ENVELOPE_COLUMNS]:
        raise MappingError(
            f"The mapping {mapping} returns the column {unknown[0]!r}, which an envelope does not "
            f"have: move it into properties, or name it one of {', '.join(ENVELOPE_COLUMNS)}."
        )
    if missing := [column for column in REQUIRED_COLUMNS if column not in types]:
        raise MappingError(
            f"The mapping {mapping} returns no column {missing[0]!r}, which every envelope needs: "
            "add it to its select."
        )
    type_ = types["timestamp"]
    if type_ != TIMESTAMPTZ and type_.startswith(("TIMESTAMP", "DATE", "TIME")):
        raise MappingError(
            f"The mapping {mapping} returns the column 'timestamp' as {type_}, without a time "
            "zone: say which it is in, for example (happened_at at time zone 'Europe/Berlin') as "
            '"timestamp".'
        )


def _first_paragraph(error: Exception) -> str:
    """Return DuckDB's message without the advice and the SQL excerpt that follow it."""
    return " ".join(str(error).split("\n\n")[0].split())
