"""The database's own functions and views: one SQL file each, ``SCHEMA/NAME.sql``.

A file holds the one current definition (``create or replace``), with all overloads of the name. It
is run whenever its text has changed. Where that changes arguments or results, which PostgreSQL does
not replace, the file begins with the ``drop function if exists`` of the old signature.
"""

from __future__ import annotations

import hashlib
import re
from graphlib import TopologicalSorter
from pathlib import Path

import psycopg
from psycopg import sql

FUNCTIONS = Path(__file__).parent


def apply_functions(connection: psycopg.Connection) -> None:
    """Run the files whose text is not the one that was run last; drop what has no file any more.

    Runs in the caller's transaction, who keeps others from doing the same at that time.
    """
    applied = dict(
        connection.execute(
            "select name, digest from warehouse.applied_files where name <> 'access'"
        ).fetchall()
    )
    # A function may call one that is made after it.
    connection.execute("set local check_function_bodies = off")
    for name, text in _in_order({_name(path): path.read_bytes() for path in _files()}):
        digest = hashlib.sha256(text).hexdigest()
        if applied.pop(name, None) != digest:
            connection.execute(text)
            connection.execute(
                "insert into warehouse.applied_files (name, digest) values (%s, %s) "
                "on conflict (name) do update set digest = excluded.digest",
                (name, digest),
            )
    for name in applied:
        _drop(connection, name)
    connection.execute("set local check_function_bodies = on")


def _files() -> list[Path]:
    return sorted(FUNCTIONS.glob("*/*.sql"))


def _name(path: Path) -> str:
    return f"{path.parent.name}.{path.stem}"


def _in_order(texts: dict[str, bytes]) -> list[tuple[str, bytes]]:
    """Return the files in the order to run them: functions, then views after those they read."""
    views = {name for name, text in texts.items() if re.search(rb"(?m)^create .*view ", text)}
    reads = {
        name: {
            other
            for other in views - {name}
            if re.search(rb"\b%s\b" % re.escape(other).encode(), texts[name])
        }
        for name in views
    }
    ordered = [*sorted(set(texts) - views), *TopologicalSorter(reads).static_order()]
    return [(name, texts[name]) for name in ordered]


def _drop(connection: psycopg.Connection, name: str) -> None:
    """Drop a view, or all functions, of this name."""
    identifier = sql.Identifier(*name.split("."))
    ((is_view,),) = connection.execute("select to_regclass(%s) is not null", (name,))
    if is_view:
        connection.execute(sql.SQL("drop view {}").format(identifier))
    else:
        signatures = connection.execute(
            "select oid::regprocedure::text from pg_proc "
            "where pronamespace::regnamespace::text || '.' || proname = %s",
            (name,),
        ).fetchall()
        for (signature,) in signatures:
            connection.execute(sql.SQL("drop function {}").format(sql.SQL(signature)))
    connection.execute("delete from warehouse.applied_files where name = %s", (name,))
