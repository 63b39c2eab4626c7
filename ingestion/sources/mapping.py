"""Foreign formats become envelopes by one DuckDB ``select`` over the file.

A mapping is a text of SQL that holds a single ``select``, reads
``getvariable('source')`` and gives one row per event, with columns among
``ENVELOPE_COLUMNS``. What it gives is judged against the contract afterwards, like any other line.
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
SHIPPED = Path(__file__).parent / "mappings"

# Room for DuckDB's read buffers; sorts and joins that need more spill to a private directory.
MEMORY_LIMIT = "512MB"
# Few enough that long rows stay flat in memory, enough that fetching costs no time.
ROWS_PER_FETCH = 256


class MappingError(WarehouseError):
    """A mapping or its file cannot be used; the message says what, where and how to mend it."""


def find_mapping(name: str) -> Path:
    """The mapping that ``--map name`` means: a file, or else a shipped mapping.

    ``sources/aider.sql``, ``aider.sql`` and ``aider`` all name the shipped one.
    Raises MappingError, with the shipped ones listed, when there is neither.
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
    """The envelopes that ``mapping`` makes of ``source``, as NDJSON.

    Yields blocks of whole lines that end in a newline, each block closed by the line with which it
    reaches ``block_bytes``. Every run gives the same bytes (as long as the mapping asks for
    nothing that changes, such as the time), so that a load can resume at an offset in them.
    Memory does not grow with the file.

    Raises MappingError, when the first block is asked for or, where the file itself is at fault,
    after the blocks before the fault.
    """
    source = _readable(source)
    try:
        with TemporaryDirectory() as spill, _sandbox(source, spill) as connection:
            select = _select(connection, mapping)
            _check_columns(connection, mapping, select)
            result = connection.execute(
                f"select to_json(envelope) from {select} as envelope"  # noqa: S608 (it is the SQL)
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
            f"The mapping {mapping} was refused a file: it may read getvariable('source') "
            f"({source}) and nothing else. {_first_paragraph(error)}"
        ) from error
    except duckdb.Error as error:
        raise MappingError(
            f"The mapping {mapping} failed on {source}: mend the mapping or the file and load "
            f"again. {_first_paragraph(error)}"
        ) from error


def _readable(source: Path) -> Path:
    # Not resolve(): a mapping may look at the file's name, which is that of the link.
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
    """An in-memory DuckDB that reaches ``source`` and the empty directory ``spill``, no more.

    One thread: then not only scans but aggregates, joins and ties in a sort come in one order.
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
    # DuckDB takes a file's name for a pattern; in brackets its special characters are themselves.
    pattern = re.sub(r"[*?\[]", r"[\g<0>]", str(source))
    connection.execute("set variable source = ?", [pattern])
    connection.execute("set allowed_paths = ?", [[str(source), pattern]])
    connection.execute("set TimeZone = 'UTC'")
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")
    return connection


def _select(connection: duckdb.DuckDBPyConnection, mapping: Path) -> str:
    """The mapping's statement as a subquery.

    Nothing of a mapping may run outside of one: allowed_paths lets DuckDB write as well as read,
    and at the top level even a ``select`` can hold ``with x as (copy … to …)``.
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
            f"The mapping {mapping} is not SQL that DuckDB reads. {_first_paragraph(error)}"
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


def _check_columns(connection: duckdb.DuckDBPyConnection, mapping: Path, select: str) -> None:
    described = connection.execute(
        f"describe select * from {select} as envelope"  # noqa: S608 (it is the SQL)
    ).fetchall()
    columns = [name for name, *_ in described]
    if unknown := [column for column in columns if column not in ENVELOPE_COLUMNS]:
        raise MappingError(
            f"The mapping {mapping} gives the column {unknown[0]!r}, which an envelope does not "
            f"have: move it into properties, or name it one of {', '.join(ENVELOPE_COLUMNS)}."
        )
    if missing := [column for column in REQUIRED_COLUMNS if column not in columns]:
        raise MappingError(
            f"The mapping {mapping} gives no column {missing[0]!r}, which every envelope needs: "
            "add it to its select."
        )


def _first_paragraph(error: Exception) -> str:
    """DuckDB's message without the advice and the excerpt of SQL that follow it."""
    return " ".join(str(error).split("\n\n")[0].split())
